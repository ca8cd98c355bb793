"""SQLite behind one writer thread, which owns the file and answers through futures.

Tasks are functions of a connection. Those that wait together are committed together (one ``fsync`` for
all), each within a savepoint of its own, so that one that fails takes no other along. A future resolves
only after the commit is on disk. Readers have connections and threads of their own: in WAL mode they see
whole commits and never wait for the writer.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

from service.errors import StorageError, UnavailableError

Result = TypeVar("Result")
Task = Callable[[sqlite3.Connection], Result]

QUEUE_SIZE: Final = 4096
"""Tasks that may wait; a caller who brings one more waits too. None is ever dropped."""
GROUP_SIZE: Final = 256
READERS: Final = 2
BUSY_MILLISECONDS: Final = 5000
_FAULTS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
)
"""Of a task, not of the file: it would fail again."""
_CLOSED: Final = "the database is closed; the service is shutting down"


@dataclass(slots=True)
class _Pending(Generic[Result]):
    run: Task[Result]
    after_commit: Callable[[Result], None] | None
    future: Future[Result] = field(default_factory=Future)


class Database:
    """A file of tables; a context manager that finishes what is queued and closes.

    Raises ``StorageError`` where the file cannot be opened; the futures raise it for what cannot be
    written (a full disk), and whatever the task itself raised.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self._schema = schema
        self._tasks: queue.Queue[_Pending[Any] | None] = queue.Queue(QUEUE_SIZE)
        self._closing = threading.Lock()
        self._closed = False
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="database writer", daemon=True)
        self._thread.start()
        opened.result()
        self._readers = ThreadPoolExecutor(READERS, "database reader")
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        try:
            for _ in range(READERS):  # all of them now: later there may be no file descriptor to be had
                self._idle.put(self._reading_connection())
        except StorageError:
            self.close()
            raise

    def write(
        self, task: Task[Result], after_commit: Callable[[Result], None] | None = None
    ) -> Future[Result]:
        """Run ``task`` in the writer's next transaction. Not at all if the future is cancelled before that.

        ``after_commit`` is called in the writer's thread with the task's result, in the order of the
        commits and before the future resolves; it must be quick and must not raise.
        """
        pending = _Pending(task, after_commit)
        with self._closing:
            if self._closed:
                raise UnavailableError(_CLOSED)
            self._tasks.put(pending)
        return pending.future

    def read(self, task: Task[Result]) -> Future[Result]:
        """Run ``task`` on a read-only connection, beside the writer."""
        if self._closed:
            raise UnavailableError(_CLOSED)
        try:
            return self._readers.submit(self._run_reader, task)
        except RuntimeError as error:  # there is no thread to be had just now, or it is being closed
            raise UnavailableError(f"the database could not be read: {error}") from error

    def close(self) -> None:
        """Finish all that was handed in. May be called twice."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._tasks.put(None)
        self._thread.join()
        self._readers.shutdown(wait=True)
        while not self._idle.empty():
            self._idle.get().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run_reader(self, task: Task[Result]) -> Result:
        connection = self._idle.get_nowait()  # there is one for each thread
        try:
            return task(connection)
        except sqlite3.Error as error:
            raise UnavailableError(f"the database could not be read: {error}") from error
        finally:
            self._idle.put(connection)

    def _reading_connection(self) -> sqlite3.Connection:
        try:
            # Used by all reading threads in turn.
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
            connection.execute("PRAGMA query_only=ON")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens all its files
        except sqlite3.Error as error:
            raise StorageError(f"cannot open the database {self.path}: {_words(error)}") from error
        return connection

    def _run(self, opened: Future[None]) -> None:
        try:
            connection = sqlite3.connect(self.path, isolation_level=None)
            connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")  # NORMAL may lose the last commits with the power
            connection.execute("PRAGMA journal_size_limit=67108864")
            connection.executescript(self._schema)
        except sqlite3.Error as error:
            opened.set_exception(StorageError(f"cannot open the database {self.path}: {_words(error)}"))
            return
        opened.set_result(None)
        try:
            while (first := self._tasks.get()) is not None:
                group, last = self._gather(first)
                self._commit(connection, group)
                if last:
                    return
        finally:
            connection.close()

    def _gather(self, first: _Pending[Any]) -> tuple[list[_Pending[Any]], bool]:
        """Return what waits, and whether the end is among it."""
        group = [first]
        while len(group) < GROUP_SIZE:
            try:
                pending = self._tasks.get_nowait()
            except queue.Empty:
                break
            if pending is None:
                return group, True
            group.append(pending)
        return group, False

    def _commit(self, connection: sqlite3.Connection, group: list[_Pending[Any]]) -> None:
        group = [pending for pending in group if pending.future.set_running_or_notify_cancel()]
        done: list[tuple[_Pending[Any], Any]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for pending in group:
                connection.execute("SAVEPOINT task")
                try:
                    done.append((pending, pending.run(connection)))
                except Exception as error:
                    if not connection.in_transaction:  # a full disk has undone the whole of it
                        raise
                    connection.execute("ROLLBACK TO task")
                    pending.future.set_exception(_told(error))
                connection.execute("RELEASE task")
            connection.execute("COMMIT")
        except Exception as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for pending in group:
                if not pending.future.done():
                    pending.future.set_exception(_told(error))
            return
        for pending, result in done:
            if pending.after_commit:
                pending.after_commit(result)
            pending.future.set_result(result)


def _told(error: Exception) -> Exception:
    """What the file or its disk did wrong as StorageError, which may mend itself; anything else as it is."""
    if isinstance(error, sqlite3.Error) and not isinstance(error, _FAULTS):
        told = StorageError(f"the database could not be written: {_words(error)}")
        told.__cause__ = error
        return told
    return error


def _words(error: sqlite3.Error) -> str:
    """What SQLite says, which calls a used-up quota, and at times a full disk, an I/O error like others."""
    is_vague = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR
    return f"{error} (is the disk full, or a quota?)" if is_vague else str(error)
