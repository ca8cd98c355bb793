"""What this machine can do, and how near to it the service comes: ``video-events benchmark``.

Figures are made in one run, in interleaved rounds, so that what disturbs the machine disturbs all candidates
alike; each candidate works in a process of its own and warms up before its first round.

``machine`` and ``clip`` are what is measured on. ``statistics`` and ``rounds`` are how; ``subjects`` lists
what takes part: ``lecture`` (the baseline), ``engines`` and ``networks`` (the same network in other hands),
``stages`` (each alone) and ``whole`` (the pipeline). ``program`` starts this program as a user would:
``footprint`` for memory, length of the clip and time to the first frame; ``served`` as the service, for
``live`` with its streams and subscribers (``camera``, ``listening``). ``queries`` fills an event log and asks
it. ``suite`` is the order of it all, ``report`` and ``plot`` show it.
"""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    PIPELINE = "pipeline"
    """The lecture's loop, each stage alone, the whole pipeline."""
    ENGINES = "engines"
    """The same network in every way that is installed."""
    GROWTH = "growth"
    """``video-events run`` over longer and longer clips: time, memory, time to the first frame."""
    EVENTS = "events"
    """An event log, and how fast it answers."""
    STREAMS = "streams"
    """Live streams through the service."""
    SUBSCRIBERS = "subscribers"
    """Many listeners to one stream."""
