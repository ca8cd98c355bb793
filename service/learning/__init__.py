"""Labels that a model learns from a few examples while it is served.

``store`` keeps examples, features and states on disk; ``engine`` lets a network answer with them;
``examples`` takes pictures from folders, clips and recordings; ``lessons`` judges whether they will do;
``trials`` keeps what streams tell of a label that is on trial. Only ``engine`` runs where the network runs.
"""
