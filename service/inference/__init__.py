"""The network in a process of its own, shared by many streams, one such process per device.

A stream uses ``client.RemoteClassifier`` as it would any ``Classifier``. ``server`` runs the engine,
``queueing`` decides which inputs go through the network together, ``wire`` is all that both sides agree
upon: messages over a Unix socket, model inputs and probabilities in memory that they share.

That memory is an anonymous file (``memfd_create``) whose descriptor travels over the socket. It has no
name, so nothing can be left behind: the kernel frees it when the last of the two processes has gone, in
whatever way. ``multiprocessing.shared_memory`` keeps names in /dev/shm and relies on a tracker process
that outlives the others to remove them; its segments also go when *any* process that opened one ends.
"""
