"""Uploaded clips: what is known of them, where they lie, and the queue of processes that work on them.

``records`` are the words, ``store`` remembers them, ``messages`` is what a clip's process tells,
``worker`` is that process, ``process`` starts, watches and kills it, ``follower`` shows and logs what it
tells, ``queue`` runs one clip after another, ``room`` says how many bytes they may take.
"""
