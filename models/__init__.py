"""Networks, their training data, training, evaluation and the trained models that ship.

``datasets`` and ``augmentation`` make batches, ``architectures`` builds networks, ``train`` fits them,
``evaluate`` judges them, ``artifact`` stores and loads the result. Nothing here imports ``service``.
"""
