"""The bytes that clips may take: what uploads leave to results, and what a result finds.  (pure)"""

from __future__ import annotations

import math
from typing import Final

from service.clips.records import ClipLimits, VideoFacts
from service.errors import StorageError

RESULTS_SHARE: Final = 8
"""Uploads leave one part in so many of the quota to results, so that of clips which wait one can begin."""
BYTES_PER_PIXEL: Final = 0.2
"""Of an annotated video, roughly: JPEG of quality 90."""
BYTES_BESIDE: Final = 1 << 20
"""Of an annotated video, for all that is not pictures."""
UNTOLD_FRAMES: Final = 1500
"""Of a clip whose container does not tell: a minute at 25 frames per second."""


def for_uploads(limits: ClipLimits) -> int:
    """Bytes of the quota that a further upload may fill."""
    return limits.quota_bytes - limits.quota_bytes // RESULTS_SHARE


def for_results(video: VideoFacts, limits: ClipLimits, used: int, free: int) -> int:
    """Bytes that each result of a clip may have, where clips take ``used`` and the disk has ``free``.

    Raises ``StorageError`` where that is too little for its video. One that would take more than what
    uploads leave of the quota does not wait for more than that.
    """
    quota = limits.quota_bytes - used
    disk = free - limits.free_bytes
    room = min(quota, disk) // limits.parallel
    needed = min(_video_bytes(video), limits.quota_bytes // RESULTS_SHARE // limits.parallel)
    if room < needed:
        full = "the space for clips is used up" if quota < disk else "the disk of this service is nearly full"
        raise StorageError(f"{full}: the annotated video needs about {math.ceil(needed / (1 << 20))} MiB")
    return room


def _video_bytes(video: VideoFacts) -> int:
    frames = video.frame_count or UNTOLD_FRAMES
    return BYTES_BESIDE + round(frames * video.width * video.height * BYTES_PER_PIXEL)
