"""The chain from source to sinks, in the order in which a frame travels.

    source ─▶ frames ─▶ model inputs ─▶ batches ─▶ probabilities ─▶ smoothed label ─▶ events ─▶ sinks
    thread 1            thread 2                   threads 3, 4     main thread                 thread 5

Decoding and resizing run ahead in threads of their own and sinks draw and encode in theirs. Where the network
may be called from several threads it has two batches at a time, so that no core waits for the last frame of
one; elsewhere the main thread calls it. Of a live source nothing is done ahead: each frame would be older by
the time of its turn. Only a fixed number of full-size frames exists at any time, see ``plan``.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Final

from service.batching import BATCHES_AT_ONCE, Batch, Batcher
from service.capture import NewestFrame, ReadAhead, WorkAhead
from service.config import RunSettings
from service.errors import NoFramesError, SinkError, SourceError
from service.events import EventDetector
from service.relabelling import Relabelling
from service.sinks import Sink, Step
from service.sources import Source
from service.types import (
    Classifier,
    EndReason,
    Event,
    EventMessage,
    EventPhase,
    Frame,
    Prediction,
    Probabilities,
    SmoothedPrediction,
    SourceProperties,
    judged,
)
from service.views import ViewPool, ViewTurns
from service.windows import lanes_of

PATIENCE: Final = 0.5
"""Seconds to wait for a live frame before looking whether the run is to stop."""
FRAME_BUDGET: Final = 480 << 20
"""Bytes of full-size frames in flight at most, in seven parts: one is read ahead; one each is gathered and
waits as a batch; two are in the network or followed; two wait for a sink."""
MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """How many frames wait for the network, go through it together, and wait for a sink.

    720p: 16 + 4 × 8 + 16 frames (177 MB) with the default batch of 8; 4K: 2 + 4 × 2 + 4 (348 MB).
    """

    read_ahead: int
    batch_size: int
    batch_bytes: int
    sink_depth: int


def plan(properties: SourceProperties, settings: RunSettings) -> Plan:
    """Fit the queues and the batch to the size of the frames; a live source is never held for a batch."""
    share = FRAME_BUDGET // 7
    affordable = max(1, share // max(1, properties.width * properties.height * 3))
    batch = min(settings.batch_size, max(1, affordable // settings.every))
    return Plan(
        read_ahead=min(MAX_DEPTH, affordable),
        batch_size=1 if properties.is_live else batch,
        batch_bytes=share,
        sink_depth=min(MAX_DEPTH, 2 * affordable),
    )


@dataclass(frozen=True, slots=True)
class Said:
    """What the network says of a batch: the probabilities of each input, in the order of ``labels``."""

    labels: tuple[str, ...] = ()
    probabilities: Iterable[Probabilities] = ()


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a source.

    ``duration`` is seconds of media time up to the end of the last frame. ``ended_early`` says why the
    source stopped before its announced end, if it did, or which output could not be written to its end;
    ``interrupted`` that the run was stopped from outside. In all cases events and outputs cover the frames
    until then. Of the ``frames``, so many were ``classified``; so many ``reused`` what was said of one of
    those, see ``gating``.
    """

    frames: int
    classified: int
    reused: int
    fps: float
    duration: float
    events: tuple[Event, ...]
    ended_early: str | None
    interrupted: bool


class Interpreter:
    """From probabilities to labels and events: all that a stream has to remember of its past."""

    def __init__(self, stream: str, labels: Sequence[str], settings: RunSettings) -> None:
        self.labels = tuple(labels)
        self._average = settings.rolling_average(labels)
        self._detector = EventDetector(stream, labels, settings.event_settings())
        self._announced: Event | None = None
        self._latest: Probabilities | None = None
        self.smoothed: SmoothedPrediction | None = None

    @property
    def event(self) -> Event | None:
        """The event that goes on, as it was last told of."""
        return self._announced if self._detector.is_open else None

    @property
    def is_quiet(self) -> bool:
        """Whether every event that was told of has been told to have ended."""
        return self._announced is None

    def relabel(self, labels: Sequence[str]) -> tuple[EventMessage, ...]:
        """Go on with other labels: those that stay keep their past, and so does an open event."""
        if tuple(labels) == self.labels:
            return ()
        self._average.relabel(labels)
        if self._latest is not None:
            self._latest = Relabelling.between(self.labels, labels).array(self._latest)
        self.labels = tuple(labels)
        return self._note(self._detector.relabel(labels))

    def update(self, prediction: Prediction) -> tuple[EventMessage, ...]:
        self._latest = prediction.probabilities
        self.smoothed = self._average.update(prediction)
        return self._note(self._detector.update(self.smoothed))

    def repeat(self, frame: Frame) -> tuple[EventMessage, ...]:
        """As ``update``, for a frame that looks like the one before it: what was said of that holds."""
        assert self._latest is not None
        return self.update(Prediction(frame.index, frame.pts, self._latest))

    def close(self, reason: EndReason, pts: float) -> tuple[EventMessage, ...]:
        return self._note(self._detector.close(reason, pts))

    def _note(self, messages: Sequence[EventMessage]) -> tuple[EventMessage, ...]:
        for message in messages:
            self._announced = None if message.phase is EventPhase.ENDED else message.event
        return tuple(messages)


def ended_by(messages: Iterable[EventMessage]) -> list[Event]:
    """The events that end with ``messages``."""
    return [message.event for message in messages if message.phase is EventPhase.ENDED]


def run(
    source: Source,
    stream: str,
    classifier: Classifier,
    settings: RunSettings,
    sinks: Sequence[Sink] = (),
    *,
    stop: threading.Event | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> RunResult:
    """Take a source from its first frame to its last; ``stream`` names it in events.

    ``stop``, once set, and KeyboardInterrupt end the run after the frames classified so far; outputs
    are finished all the same, and so they are when the source or a sink fails on the way. ``on_progress``
    is told the number of frames done.

    Raises ``NoFramesError`` if there was not one frame. The first failure of any other stage is raised
    after all threads have ended and sinks have given up what they had half written.
    """
    interpreter = Interpreter(stream, classifier.labels, settings)
    views = ViewPool(classifier.views)
    stop = stop or threading.Event()
    frames = classified = reused = 0
    events: list[Event] = []
    end_pts = 0.0
    interrupted, failure, unwritten = False, None, None
    frame_time = 1 / source.properties.fps
    try:
        try:
            with closing(_classified(source, classifier, settings, stop)) as batches:
                for batch, said in batches:
                    for step in _steps(batch, said, views, interpreter):
                        frames += 1
                        events += ended_by(step.messages)
                        end_pts = max(end_pts, step.frame.pts + frame_time)
                        _call_all(partial(sink.write, step) for sink in sinks)
                    classified += len(batch.positions)
                    reused += len(batch.repeats)
                    if on_progress:
                        on_progress(frames)
                    del batch  # else its frames stay while the next is waited for, beyond the budget
        except KeyboardInterrupt:
            interrupted = True
        except SourceError as error:
            if not frames:
                raise
            failure = str(error)
        except SinkError as error:
            unwritten = f"{error}; the events are those of the first {frames} frames"
        interrupted = interrupted or stop.is_set()
        if not frames and not interrupted:
            raise NoFramesError(f"{stream}: not one frame could be decoded")
        last = interpreter.close(EndReason.END_OF_STREAM, end_pts)
        events += ended_by(last)
        try:
            _call_all(partial(sink.close, last) for sink in sinks)
        except SinkError as error:
            unwritten = unwritten or str(error)
    except BaseException:
        for sink in sinks:
            sink.abort()
        raise
    return RunResult(
        frames=frames,
        classified=classified,
        reused=reused,
        fps=source.properties.fps,
        duration=end_pts,
        events=tuple(events),
        ended_early=unwritten or (None if interrupted else failure or source.ending),
        interrupted=interrupted,
    )


def _call_all(calls: Iterable[Callable[[], None]]) -> None:
    """Call the sinks, those after one that fails as well; raises the first ``SinkError``."""
    failure: SinkError | None = None
    for call in calls:
        try:
            call()
        except SinkError as error:
            failure = failure or error
    if failure:
        raise failure


def _classified(
    source: Source, classifier: Classifier, settings: RunSettings, stop: threading.Event
) -> Generator[tuple[Batch, Said], None, None]:
    """The batches of a source, of a file made ahead; none, complete or not, comes after ``stop`` is set."""
    batches = _batches(source, classifier, settings, stop)
    if source.properties.is_live:
        with closing(batches):
            yield from _in_turn(batches, classifier)
        return
    classify = _side_by_side if lanes_of(classifier) > 1 else _in_turn
    with WorkAhead(batches, 1) as ahead:
        yield from classify(takewhile(lambda _: not stop.is_set(), ahead), classifier)


def _in_turn(batches: Iterable[Batch], classifier: Classifier) -> Generator[tuple[Batch, Said], None, None]:
    for batch in batches:
        yield batch, _ask(classifier, batch)


def _side_by_side(
    batches: Iterable[Batch], classifier: Classifier
) -> Generator[tuple[Batch, Said], None, None]:
    """The same, in the same order, with ``BATCHES_AT_ONCE`` in the network."""
    asked: deque[tuple[Batch, Future[Said]]] = deque()
    failure: SourceError | None = None
    with ThreadPoolExecutor(BATCHES_AT_ONCE, "network") as pool:
        try:
            for batch in batches:
                asked.append((batch, pool.submit(_ask, classifier, batch)))
                if len(asked) == BATCHES_AT_ONCE:
                    yield _answered(*asked.popleft())
        except SourceError as error:
            failure = error  # what has been asked still counts
        while asked:
            yield _answered(*asked.popleft())
    if failure:
        raise failure


def _answered(batch: Batch, said: Future[Said]) -> tuple[Batch, Said]:
    return batch, said.result()


def _ask(classifier: Classifier, batch: Batch) -> Said:
    if batch.inputs is None:
        return Said()
    judgement = judged(classifier, batch.inputs)
    return Said(tuple(judgement.labels), judgement.probabilities)


def _batches(
    source: Source, classifier: Classifier, settings: RunSettings, stop: threading.Event
) -> Generator[Batch, None, None]:
    """Read frames, make model inputs, gather them."""
    flow = plan(source.properties, settings)
    batcher = Batcher(flow.batch_size, flow.batch_bytes)
    gate = settings.open_gate(source.properties.is_live, classifier.views) if classifier.frames == 1 else None
    turns = ViewTurns()
    failure: SourceError | None = None
    with closing(_frames(source, flow, stop)) as frames:
        try:
            for number, frame in enumerate(frames):
                wanted = number % settings.every == 0
                seen = classifier.model_input(frame.image) if wanted and gate else None
                repeats = bool(gate and seen is not None and not gate.passes(seen, frame.pts))
                model_input = None
                if wanted and not repeats:
                    model_input = turns.model_input(classifier, frame.image, seen)
                if batch := batcher.add(frame, model_input, repeats=repeats):
                    yield batch
        except SourceError as error:
            failure = error  # the frames before it still count
    if batch := batcher.flush():
        yield batch
    if failure:
        raise failure


def _frames(source: Source, flow: Plan, stop: threading.Event) -> Generator[Frame, None, None]:
    """All frames of a file; of a live source the newest whenever there is time for one."""
    if not source.properties.is_live:
        with ReadAhead(source, flow.read_ahead) as ahead:
            for frame in ahead:
                if stop.is_set():
                    return
                yield frame
        return
    with NewestFrame(source) as newest:
        while not stop.is_set():
            try:
                taken = newest.take(PATIENCE)
            except TimeoutError:
                continue
            if taken is None:
                return
            yield taken


def _steps(batch: Batch, said: Said, views: ViewPool, interpreter: Interpreter) -> Iterator[Step]:
    """Follow the frames of a batch in order."""
    results = iter(said.probabilities)
    ended = interpreter.relabel(said.labels) if said.labels else ()
    classified, repeats = set(batch.positions), set(batch.repeats)
    for position, frame in enumerate(batch.frames):
        messages, ended = ended, ()
        if position in classified:
            pooled = views.update(next(results), said.labels)
            messages += interpreter.update(Prediction(frame.index, frame.pts, pooled))
        elif position in repeats:
            messages += interpreter.repeat(frame)
        yield Step(frame, interpreter.smoothed, interpreter.event, messages, position in repeats)
