"""From video to labelled events.

The modules stand in the order in which a frame travels:

``sources`` → ``capture`` → ``batching`` → ``engines`` → ``smoothing`` → ``events``
→ ``annotate`` → ``sinks``; ``pipeline`` joins them, ``cli`` is how a person starts it.

``types`` and ``errors`` are the words they share and import nothing of the project.
"""
