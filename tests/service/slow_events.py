"""The event rules once more, slowly: every quantity is worked out afresh from the whole list of frames.

Shares no code and no running state with ``service.events`` and ``service.onsets``, only the rules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.events import EventSettings
from service.types import BACKGROUND, Prediction, SmoothedPrediction

EPSILON = 1e-9


@dataclass
class SlowEvent:
    label: str
    start: float
    announced: float
    confidences: list[float]
    end: float | None = None
    reason: str | None = None
    give_up_at: float = 0.0


def slow_average(predictions: list[Prediction], window: int) -> list[np.ndarray]:
    """Mean of the last ``window`` predictions, each added up afresh in double precision."""
    rows = [prediction.probabilities.astype(np.float64) for prediction in predictions]
    return [np.mean(rows[max(0, i + 1 - window) : i + 1], axis=0) for i in range(len(rows))]


def slow_events(
    frames: list[SmoothedPrediction], labels: tuple[str, ...], settings: EventSettings, close_pts: float
) -> list[SlowEvent]:
    """Return the events of a whole stream that ends at ``close_pts``."""
    times = [max(frame.pts for frame in frames[: i + 1]) for i in range(len(frames))]
    close_pts = max([close_pts, *times])
    raw = {name: [float(f.raw.probabilities[k]) for f in frames] for k, name in enumerate(labels)}
    mean = {name: [float(f.probabilities[k]) for f in frames] for k, name in enumerate(labels)}
    low = min(settings.exit, 0.5)
    judged_from = dict.fromkeys(labels, 0)
    restarted_at = dict.fromkeys(labels, -1)
    held: list[str | None] = []
    done: list[SlowEvent] = []
    now: SlowEvent | None = None

    def sums(name: str, first: int, last: int, sign: int) -> list[float]:
        total, all_totals = 0.0, []
        for i in range(first, last + 1):
            total = max(0.0, total + sign * (raw[name][i] - 0.5))
            all_totals.append(total)
        return all_totals

    def onset(totals: list[float], first: int) -> int | None:
        """First frame after the last zero; none if the last total is itself zero."""
        if not totals or totals[-1] == 0:
            return None
        zeros = [i for i, total in enumerate(totals) if total == 0]
        return first + (zeros[-1] + 1 if zeros else 0)

    def presence(name: str, t: int) -> int | None:
        return onset(sums(name, judged_from[name], t, +1), judged_from[name])

    def absence(name: str, t: int) -> int | None:
        first = restarted_at[name] + 1
        totals = sums(name, judged_from[name], t, +1)
        for i in range(first, t + 1):
            if totals[i - judged_from[name]] == 0 and held[i] != name:
                first = i + 1
        return onset(sums(name, first, t, -1), first)

    def restart(name: str, t: int) -> None:
        gone = absence(name, t)
        if gone is not None:
            judged_from[name], restarted_at[name] = gone, t

    def top(t: int) -> str:
        return max(labels, key=lambda name: (mean[name][t], -labels.index(name)))

    def candidate(t: int) -> str | None:
        return top(t) if top(t) != BACKGROUND and mean[top(t)][t] >= settings.enter else None

    def finish(event: SlowEvent, end: float, reason: str) -> None:
        event.end, event.reason = max(end, event.start + 1e-3), reason

    for t, pts in enumerate(times):
        held.append(now.label if now and now.end is None else None)
        if now and now.end is None and mean[now.label][t] < settings.exit:
            gone = absence(now.label, t)
            end = pts if gone is None else times[gone]
            finish(now, end, "exit" if top(t) in (now.label, BACKGROUND) else "label_change")
            now.give_up_at = end + 2 * settings.merge_gap + settings.min_duration + 4 * (pts - end)
            restart(now.label, t)
        for name in labels:
            before = mean[name][t - 1] if t else 0.0
            if before >= low > mean[name][t]:
                restart(name, t)

        name, since = candidate(t), t
        while since and candidate(since - 1) == name:
            since -= 1
        active = now.label if now and now.end is None else None
        if name and name != active and pts - times[since] >= settings.min_duration - EPSILON:
            first = presence(name, t)
            start = times[since if first is None else first]
            resumes = now and now.label == name and start - now.end < settings.merge_gap - EPSILON
            if resumes:
                now.end = now.reason = None
            else:
                if now and now.end is None:
                    gone = absence(now.label, t)
                    end = pts if gone is None else times[gone]
                    finish(now, min(end, start) if start > now.start else end, "label_change")
                    restart(now.label, t)
                if now:
                    done.append(now)
                now = SlowEvent(name, max([start, *(event.end for event in done)]), pts, [])
        if now and now.end is None:
            now.confidences.append(mean[now.label][t])
        elif now:
            first = presence(now.label, t)
            nearest = pts if first is None else times[first]
            if nearest - now.end >= settings.merge_gap - EPSILON or pts >= now.give_up_at:
                done.append(now)
                now = None
    if now:
        if now.end is None:
            last = len(frames) - 1
            gone = absence(now.label, last) if top(last) != now.label else None
            finish(now, close_pts if gone is None else times[gone], "end_of_stream")
        done.append(now)
    return done
