"""Trainings as experiments: their parameters in a file, grids of them, results that can be compared.

``experiment`` holds the parameters, ``execute`` does what they say, ``results`` and ``page`` say what came of
it, ``grid`` runs many and goes on where it stopped, ``by_group`` leaves out each group in turn, ``compare``
puts runs side by side.
"""
