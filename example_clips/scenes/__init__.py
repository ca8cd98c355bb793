"""Scenes drawn from nothing but numbers: geometry, light and random choices, no picture of anyone else.

``camera`` projects, ``mesh`` makes and shades solids, ``texture`` paints flat things, ``figures`` builds
people; ``badminton``, ``volleyball``, ``formula1`` and ``background`` put them together. World frame: metres,
x to the right, y away, z up. Colours: BGR, 0..1, until the last step.
"""
