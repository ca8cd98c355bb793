"""What the program can be told to do: one module for each command, or for a few that belong together."""
