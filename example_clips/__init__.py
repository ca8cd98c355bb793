"""Short clips made by this project, and the script that renders them."""
