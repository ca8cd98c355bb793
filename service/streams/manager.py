"""Keeps all streams: starts, changes and removes them, and remembers them across restarts."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from service.addresses import SOURCE_SCHEMES, AddressPolicy
from service.backoff import Backoff
from service.config import HardwareDecode
from service.engines.restricted import check_labels
from service.errors import (
    OperatorStreamError,
    StoppingError,
    StorageError,
    StreamExistsError,
    StreamLimitError,
    StreamNotFoundError,
)
from service.event_log import EventLog
from service.streams.admission import Admission, AdmissionSettings
from service.streams.archive import Archive, RecordedFile
from service.streams.process import StreamTask, run_stream
from service.streams.records import LiveModel, StreamDefinition, StreamOptions
from service.streams.store import StreamStore
from service.streams.stream import Stream, TrialListener
from service.supervisor import ChildSpec, Supervisor
from service.types import StreamState

PREFIX: Final = "stream "
"""Begins the names of the streams' processes."""
SILENCE_SECONDS: Final = 3.0
STOP_SECONDS: Final = 1.2
DRAIN_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """``streams`` at most; ``policy`` says which addresses a client may name.

    Recordings of all streams together are kept for ``keep_seconds``, up to ``recording_bytes``, and only
    while ``free_bytes`` of the disk stay free.
    """

    streams: int = 64
    policy: AddressPolicy = field(default_factory=AddressPolicy)
    keep_seconds: float = 30 * 86400.0
    recording_bytes: int = 20 << 30
    free_bytes: int = 0
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)


class StreamManager:
    """Made within the event loop ``loop``; its methods wait and belong in a thread."""

    def __init__(
        self,
        store: StreamStore,
        log: EventLog,
        model: LiveModel,
        supervisor: Supervisor,
        folder: Path,
        limits: StreamLimits,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.time,
        on_trial: TrialListener = lambda stream, told: None,
        hardware: HardwareDecode = HardwareDecode.AUTO,
    ) -> None:
        self.limits = limits
        self.admission = Admission(limits.admission)
        self.model = model
        self._store = store
        self._log = log
        self._supervisor = supervisor
        self._archive = Archive(folder, limits.keep_seconds, limits.recording_bytes, limits.free_bytes)
        self._loop = loop
        self._clock = clock
        self._on_trial = on_trial
        self._hardware = hardware
        self._streams: dict[str, Stream] = {}
        self._adding = threading.Lock()  # who takes a name or room, one after the other
        self._closed = False

    def start(self, configured: Iterable[StreamDefinition]) -> None:
        """Start what the operator configured, and what clients have added in earlier lives."""
        now = self._clock()
        own = {definition.name: replace(definition, created_at=now) for definition in configured}
        for definition in self._store.load():
            if not definition.trusted:  # what the operator has taken back does not live on
                own.setdefault(definition.name, definition)
        for definition in own.values():
            definition.check()
            self._launch(definition)

    def close(self) -> None:
        """Let every stream end in an orderly way; the supervisor has to be alive still."""
        with self._adding:
            self._closed = True
        # Not under the lock: who changes a stream just now needs it to come to an end.
        threads = [
            threading.Thread(target=self._finish, args=(stream,), name="stopping") for stream in self.all()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._streams.clear()

    def add(self, definition: StreamDefinition) -> Stream:
        """Raises ``ConfigurationError``, ``StreamExistsError`` or ``AddressRefusedError``."""
        definition = replace(definition, created_at=self._clock())
        definition.check()
        self._check_source(definition)
        with self._adding:
            self._check_open()
            if definition.name in self._streams:
                raise StreamExistsError(f"there is a stream {definition.name!r} already")
            if len(self._streams) >= self.limits.streams:
                raise StreamLimitError(f"there are {self.limits.streams} streams, as many as may be")
            self._check_gone(definition.name)
            self.admission.check(definition, self.all())
            self._store.save(definition)
            stream = self._launch(definition)
            self.admission.divide(self.all())
            return stream

    def change(
        self, name: str, source: str | None, revise: Callable[[StreamOptions], StreamOptions] | None
    ) -> Stream:
        """Start a stream afresh with another source or other options; no other stream notices.

        ``revise`` makes new options of those that it has when its turn has come, after others' changes.
        Nothing happens where they are those that it has, unless it has ended: then it starts once more.
        Raises ``OperatorStreamError`` for one of the operator's, which would be as before after a restart.
        """
        with self._changed(name) as stream:
            definition = replace(
                stream.definition,
                source=stream.definition.source if source is None else source,
                options=stream.definition.options if revise is None else revise(stream.definition.options),
            )
            over = stream.closing.is_set() or stream.status.state is StreamState.ENDED
            if definition == stream.definition and not over:
                return stream
            definition.check()
            self._check_source(definition)
            with self._adding:
                promise = self.admission.promise
                if promise(definition.options) > promise(stream.definition.options):
                    self.admission.check(definition, (one for one in self.all() if one is not stream))
                before, stream.definition = stream.definition, definition  # from here on the room is taken
            try:
                self._store.save(definition)
            except StorageError:
                stream.definition = before
                raise
            self._stop(stream)
            self._check_gone(name)
            changed = self._launch(definition, before=stream)
            self.admission.divide(self.all())
            return changed

    def adapt(self, capacity: float) -> None:
        """Give every stream its rate, now that the network takes ``capacity`` inputs per second."""
        self.admission.adapt(self.all(), capacity, time.monotonic())

    def remove(self, name: str, *, with_recordings: bool = False) -> None:
        """Stop a stream in whatever state it is, and forget it; its events stay in the log.

        ``with_recordings`` may also be asked for later, when the stream is gone already. Raises
        ``OperatorStreamError`` for one of the operator's, which would be back after a restart.
        """
        if with_recordings:
            with self._adding:
                if name not in self._streams and self._archive.has(name):
                    self._archive.delete(name)
                    return
        with self._changed(name) as stream:
            self._store.delete(name)
            self._stop(stream)
            try:
                if with_recordings:
                    self._archive.delete(name)
            finally:
                del self._streams[name]  # not before: the next stream of this name has recordings of its own

    def get(self, name: str) -> Stream:
        """Raises ``StreamNotFoundError``."""
        try:
            return self._streams[name]
        except KeyError:
            raise StreamNotFoundError("there is no stream of this name") from None

    def all(self) -> tuple[Stream, ...]:
        """All streams, oldest first."""
        return tuple(self._streams.values())

    def tidy(self) -> None:
        """Remove recordings that are too old, and the oldest of those that are too many."""
        self._archive.tidy(self._clock(), self._streams)  # not a copy: some may come meanwhile

    def recordings(self, name: str) -> tuple[RecordedFile, ...]:
        """Finished recordings, the newest first; also those of a stream that was removed.

        Raises ``StreamNotFoundError`` where there is neither a stream nor a recording.
        """
        files = self._archive.files(name)
        if not files:
            self.get(name)
        return files

    @contextmanager
    def _changed(self, name: str) -> Iterator[Stream]:
        """The client's stream to whoever changes it, one after the other; others' changes go on meanwhile."""
        while True:
            stream = self.get(name)
            with stream.changing:
                self._check_open()
                if self._streams.get(name) is stream:
                    if stream.definition.trusted:
                        raise OperatorStreamError(
                            f"{name} is defined by the operator: change the configuration or the command line"
                        )
                    yield stream
                    return

    def _check_source(self, definition: StreamDefinition) -> None:
        if not definition.trusted:
            self.limits.policy.check(definition.source, SOURCE_SCHEMES)
        if definition.options.labels is not None:
            check_labels(definition.options.labels, self.model.labels)

    def _launch(self, definition: StreamDefinition, before: Stream | None = None) -> Stream:
        stream = Stream(
            definition,
            self._log,
            self.model.name,
            self._loop,
            self._clock,
            self._on_trial,
            before,
        )
        self._streams[definition.name] = stream
        task = StreamTask(
            name=definition.name,
            source=definition.source,
            options=definition.options,
            trusted=definition.trusted,
            folder=self._archive.folder(definition.name),
            hardware=self._hardware,
            resolve=None if definition.trusted else partial(self.limits.policy.check, schemes=SOURCE_SCHEMES),
        )
        self._supervisor.start(
            ChildSpec(
                PREFIX + definition.name,
                run_stream,
                (task, self.model),
                open_channel=stream.open_channel,
                on_change=stream.hear_supervisor,
                start_timeout=60.0,
                beat_timeout=SILENCE_SECONDS,
                backoff=Backoff(limit=4.0),
            )
        )
        return stream

    def _check_open(self) -> None:
        if self._closed:
            raise StoppingError("the service is being stopped; streams can be changed when it is back")

    def _check_gone(self, name: str) -> None:
        """A process that hangs in a device driver outlives even SIGKILL; it ends with the driver's call."""
        if self._supervisor.status(PREFIX + name):
            raise StoppingError(f"the process of the stream {name} that was does not end; try again later")

    def _finish(self, stream: Stream) -> None:
        """Stop a stream for good, after whoever changes or removes it just now."""
        with stream.changing:
            found = self._streams.get(stream.definition.name)
            if found:
                self._stop(found)

    def _stop(self, stream: Stream) -> None:
        stream.closing.set()
        self._supervisor.stop(PREFIX + stream.definition.name, STOP_SECONDS)
        stream.close(DRAIN_SECONDS)
