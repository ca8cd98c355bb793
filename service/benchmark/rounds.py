"""Interleaved rounds: every candidate in turn, again and again, so that noise hits all of them alike.

Each candidate lives in a process of its own, which sleeps while the others are measured: no thread pool, no
cache of another library and no setting of the environment is shared.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final, Protocol

from service.benchmark.machine import peak_memory
from service.benchmark.statistics import Spread
from service.child import leave_with_parent
from service.errors import BenchmarkError

OPEN_SECONDS: Final = 600.0
"""To load a model, compile it and warm up, on a slow machine."""
MEASURE_SECONDS: Final = 600.0

_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Reading:
    """One round of one candidate: frames done, wall and processor seconds (of all threads) they took."""

    frames: int
    seconds: float
    cpu_seconds: float

    @property
    def fps(self) -> float:
        return self.frames / self.seconds

    @property
    def core_seconds(self) -> float:
        """Processor seconds for one frame."""
        return self.cpu_seconds / self.frames


class Subject(Protocol):
    """What is measured, opened and warm."""

    def measure(self, seconds: float) -> Reading:
        """Work for about so many seconds, at least on one frame."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """``open`` makes the subject in its own process and has to be picklable; raises why it cannot be."""

    name: str
    open: Callable[[], Subject]


class Player(Protocol):
    """A candidate that is ready for its rounds."""

    @property
    def name(self) -> str: ...

    def measure(self, seconds: float) -> Reading:
        """Raises ``BenchmarkError`` if it failed; it is closed then and takes part no more."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Rounds:
    """What came of the rounds; ``readings`` of a candidate that failed later are those until then."""

    readings: dict[str, list[Reading]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    peak_memory: dict[str, int] = field(default_factory=dict)

    def fps(self, name: str) -> Spread:
        return Spread.of([reading.fps for reading in self.readings[name]])

    def core_seconds(self, name: str) -> Spread:
        return Spread.of([reading.core_seconds for reading in self.readings[name]])

    def wall_seconds(self, name: str) -> Spread:
        return Spread.of([reading.seconds / reading.frames for reading in self.readings[name]])

    def ratio(self, name: str, baseline: str) -> Spread | None:
        """How many times the baseline's rate, round by round; ``None`` without a common round."""
        pairs = zip(self.readings.get(name, ()), self.readings.get(baseline, ()), strict=False)
        ratios = [reading.fps / base.fps for reading, base in pairs]
        return Spread.of(ratios) if ratios else None


def interleave(
    players: Sequence[Player],
    rounds: int,
    seconds: float,
    into: Rounds,
    on_step: Callable[[str], None] = lambda name: None,
) -> None:
    """Measure all players ``rounds`` times for ``seconds`` each, beginning with another one every time.

    Readings are added to ``into`` as they come, so that an interruption keeps them.
    """
    left = list(players)
    for number in range(rounds):
        start = number % len(left) if left else 0
        for player in left[start:] + left[:start]:
            on_step(player.name)
            try:
                reading = player.measure(seconds)
            except BenchmarkError as error:
                into.skipped[player.name] = str(error)
                left.remove(player)
                player.close()  # one that is late would go on to work beside the others
            else:
                into.readings.setdefault(player.name, []).append(reading)


class Worker:
    """A candidate in its process, which ``close`` ends."""

    def __init__(self, name: str, open_subject: Callable[[], Subject | None]) -> None:
        """Start the process, which begins to open its subject at once; ``wait`` tells when it has."""
        self.name = name
        self.peak_memory = 0
        self._pipe, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_work, args=(open_subject, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def wait(self) -> None:
        """Raises ``BenchmarkError`` with the reason if this candidate cannot take part."""
        self._answer(OPEN_SECONDS)

    def measure(self, seconds: float) -> Reading:
        """Raises ``BenchmarkError`` if it failed."""
        reading, self.peak_memory = self._answer(MEASURE_SECONDS + 10 * seconds, to=seconds)
        if not isinstance(reading, Reading) or reading.frames < 1:
            raise BenchmarkError(f"{self.name} measured nothing")
        return reading

    def close(self) -> None:
        """End the process, whatever it is at; once more does nothing."""
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def _answer(self, seconds: float, to: float | None = None) -> tuple[object, int]:
        """What the process says within ``seconds`` to the request ``to``, or once it is ready."""
        try:
            if to is not None:
                self._pipe.send(to)
            if not self._pipe.poll(seconds):
                raise BenchmarkError(f"no answer within {seconds:g} s")
            answer, memory = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(1)
            raise BenchmarkError(f"its process ended (status {self._process.exitcode})") from error
        if isinstance(answer, str):
            raise BenchmarkError(answer)
        return answer, int(memory)


def run_rounds(
    candidates: Iterable[Candidate],
    rounds: int,
    seconds: float,
    into: Rounds,
    on_step: Callable[[str], None] = lambda name: None,
) -> None:
    """Open all candidates one after the other, warm each up, then ``interleave`` them.

    One that cannot be opened is noted in ``into.skipped`` with its reason.
    """
    workers: list[Worker] = []
    try:
        for candidate in candidates:
            on_step(f"open {candidate.name}")
            worker = Worker(candidate.name, candidate.open)
            workers.append(worker)
            try:
                worker.wait()
                worker.measure(min(seconds, 1.0))
            except BenchmarkError as error:
                into.skipped[candidate.name] = str(error)
                workers.remove(worker)
                worker.close()
        interleave(workers, rounds, seconds, into, on_step)
    finally:
        for worker in workers:
            into.peak_memory[worker.name] = worker.peak_memory
            worker.close()


def in_own_process(work: Callable[[], None]) -> None:
    """Call ``work`` where its libraries and its memory go with it. Raises ``BenchmarkError`` if it fails."""
    with contextlib.closing(Worker("work", work)) as worker:
        worker.wait()


class Repeated:
    """A subject that calls ``work``, which returns how many frames it did, again and again."""

    def __init__(self, work: Callable[[], int]) -> None:
        self._work = work

    def measure(self, seconds: float) -> Reading:
        return repeat(self._work, seconds)


class Stopwatch:
    """Wall and processor time of this process between ``start`` and ``stop``, summed up."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._started: tuple[float, float] | None = None

    def start(self) -> None:
        self._started = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        assert self._started
        self.seconds += time.perf_counter() - self._started[0]
        self.cpu_seconds += time.process_time() - self._started[1]
        self._started = None

    def reading(self, frames: int) -> Reading:
        return Reading(frames, self.seconds, self.cpu_seconds)


def repeat(work: Callable[[], int], seconds: float) -> Reading:
    """Call ``work``, which returns how many frames it did, for about so many seconds."""
    watch, frames = Stopwatch(), 0
    deadline = time.perf_counter() + seconds
    watch.start()
    while not frames or time.perf_counter() < deadline:
        frames += work()
    watch.stop()
    return watch.reading(frames)


def _work(open_subject: Callable[[], Subject | None], pipe: Connection) -> None:
    """The main function of a candidate's process; ends with the other end of ``pipe``, or its parent."""
    leave_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    with contextlib.suppress(EOFError, OSError):
        try:
            subject = open_subject()
        except Exception as error:  # what cannot be opened is skipped with its reason
            pipe.send((reason(error), 0))
            return
        pipe.send((True, peak_memory()))
        while subject is not None:
            seconds = pipe.recv()
            try:
                answer: object = subject.measure(seconds)
            except Exception as error:
                answer = reason(error)
            pipe.send((answer, peak_memory()))


def reason(error: Exception) -> str:
    """Why something failed, in a line; with the kind of error where it is not one of this project's."""
    from models.errors import ModelError
    from service.errors import VideoEventsError

    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, (VideoEventsError, ModelError)) else f"{type(error).__name__}: {text}"
