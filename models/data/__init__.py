"""Tools around labelled images, one a file: none of them loads a network, none changes what it reads.

``listing`` says which images there are, with label, split and group; every tool takes and makes listings.
"""
