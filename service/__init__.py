"""From video to labelled events.

The modules stand in the order in which a frame travels:

``sources`` → ``capture`` → ``gating`` → ``batching`` → ``engines`` → ``views`` → ``smoothing`` → ``events``
→ ``annotate`` → ``sinks``; ``pipeline`` joins them, ``cli`` is how a person starts it.

``windows`` keeps each stream's last frames for engines that judge clips.

A service runs each source in a process of its own: ``supervisor`` keeps those processes up, and
``inference`` lets them share one engine.

``types`` and ``errors`` are the words they share and import nothing of the project. ``README.md`` here has a
line on each of the others.
"""
