"""The thread of one webhook: reads the log, sends, tries again, gives up."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import logging
import random
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

from service.addresses import WEBHOOK_SCHEMES, AddressPolicy, Resolve
from service.database import Database, Task
from service.errors import AddressRefusedError, SourceNotFoundError, StorageError
from service.event_log import EventLog, EventQuery, LoggedMessage
from service.webhooks import store
from service.webhooks.post import Post
from service.webhooks.records import DeliveryLimits, Webhook, WebhookCounts

AGENT: Final = "video-events"
BATCH: Final = 64
SKIPPED_AT_MOST: Final = 256
"""Messages that a webhook does not want and may come by again after a crash: saves a write for each."""
STORAGE_PAUSE: Final = 5.0

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class _Stopped(Exception):  # noqa: N818
    """Not a failure: the service shuts down."""


@dataclass(frozen=True, slots=True)
class Context:
    """What all webhooks share."""

    database: Database
    log: EventLog
    policy: AddressPolicy
    render: Callable[[LoggedMessage], bytes]
    limits: DeliveryLimits
    resolve: Resolve
    tls: ssl.SSLContext | None


class Worker:
    """Runs from ``start`` until it has been stopped; ``abort`` breaks off the request under way."""

    def __init__(self, hook: Webhook, context: Context) -> None:
        self.counts = WebhookCounts()
        self._hook = hook
        self._context = context
        self._database = context.database
        self._limits = context.limits
        self._saved = 0
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._post: Post | None = None
        self._thread = threading.Thread(target=self._run, name=f"webhook {hook.name}", daemon=True)

    def start(self, position: int) -> None:
        self.counts.position = self._saved = position
        self._thread.start()

    def wake(self) -> None:
        self._bell.set()

    def stop(self) -> None:
        self._stopping.set()
        self._bell.set()

    def abort(self) -> None:
        if post := self._post:
            post.abort()

    def join(self, timeout: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while True:
                self._bell.clear()
                self._unless_stopping()
                try:
                    if not (self._retry() or self._go_on()):
                        self._bell.wait()
                except _Stopped:
                    raise
                except StorageError as error:
                    self._pause(str(error))
                except Exception:
                    logger.exception("webhook %s failed", self._hook.name)
                    self._pause("an error of this program; see its log")
        except _Stopped:
            self._save_last()

    def _retry(self) -> bool:
        """Send a dead letter that was queued again, if there is one."""
        name = self._hook.name
        row = self._database.read(lambda db: store.queued_letter(db, name)).result()
        if row is None:
            return False
        position, body = row
        if (failure := self._deliver(position, body)) is None:
            self._store(lambda db: store.unbury(db, name, position))
        else:
            self._bury(position, body, *failure, self.counts.position)
        return True

    def _go_on(self) -> bool:
        """Send what a page of the log holds; False at its end."""
        counts = self.counts
        page = self._context.log.query(EventQuery(after=counts.position, limit=BATCH)).result()
        if page.forgotten > counts.position:
            counts.forgotten += page.forgotten - counts.position
            logger.warning(
                "webhook %s: messages %d to %d were deleted from the log before they could be sent",
                *(self._hook.name, counts.position + 1, page.forgotten),
            )
            counts.position = page.forgotten
        for logged in page.messages:
            self._unless_stopping()
            position = logged.position
            if not self._hook.wants(logged):
                counts.position = position
                continue
            body = self._context.render(logged)
            if failure := self._deliver(position, body):
                self._bury(position, body, *failure, position)
                counts.position = position
            else:
                counts.position = position
                self._save(position)
        if counts.position - self._saved >= SKIPPED_AT_MOST:
            self._save(counts.position)
        return bool(page.messages)

    def _deliver(self, position: int, body: bytes) -> tuple[str, int] | None:
        """Try until it is taken; or return why it was given up, and after how many attempts."""
        attempt = 0
        while True:
            attempt += 1
            reason, again_after = self._attempt(position, body)
            if reason is None:
                self.counts.delivered += 1
                return None
            self._unless_stopping()
            self.counts.failed += 1
            self.counts.last_failure = reason
            if again_after is None or attempt >= self._limits.attempts:
                return reason, attempt
            backoff = self._limits.backoff
            wait = max(backoff.delay(attempt, random.random()), min(again_after, backoff.limit))
            if self._stopping.wait(wait):
                raise _Stopped

    def _attempt(self, position: int, body: bytes) -> tuple[str | None, float | None]:
        """The reason of a failure, and the seconds after which to try again at the earliest, if at all."""
        context, hook = self._context, self._hook
        self._post = post = Post(self._limits.connect_timeout, self._limits.total_timeout)
        try:
            target = context.policy.check(hook.url, WEBHOOK_SCHEMES, context.resolve)
            answer = post.run(target, body, _headers(hook, position, body), context.tls)
        except AddressRefusedError as error:
            return str(error), None
        except SourceNotFoundError as error:
            return str(error), 0.0
        except (OSError, http.client.HTTPException) as error:
            return f"cannot be reached ({error or type(error).__name__})", 0.0
        finally:
            self._post = None
        if 200 <= answer.status < 300:
            return None, None
        reason = f"answered with status {answer.status}"
        # Anything but these two may be a receiver that is just being set up.
        is_final = answer.status == HTTPStatus.GONE or 300 <= answer.status < 400
        return reason, None if is_final else answer.retry_after or 0.0

    def _bury(self, position: int, body: bytes, reason: str, attempts: int, cursor: int) -> None:
        name, most = self._hook.name, self._limits.most_dead

        def task(db: sqlite3.Connection) -> int:
            store.set_cursor(db, name, cursor)
            return store.bury(db, name, position, body, reason, attempts, most)

        self.counts.dead_deleted += self._store(task)
        self.counts.dead += 1
        self._saved = cursor
        logger.warning("webhook %s: message %d not delivered: %s", name, position, reason)

    def _save(self, position: int) -> None:
        self._store(lambda db: store.set_cursor(db, self._hook.name, position))
        self._saved = position

    def _save_last(self) -> None:
        try:
            if self.counts.position > self._saved:
                position = self.counts.position
                self._database.write(lambda db: store.set_cursor(db, self._hook.name, position)).result()
        except StorageError:  # some messages that this webhook does not want will be read once more
            logger.warning("webhook %s: its position could not be saved", self._hook.name)

    def _store(self, task: Task[Result]) -> Result:
        """Write; while that fails, nothing more is sent, since it would be sent again."""
        while True:
            try:
                return self._database.write(task).result()
            except StorageError as error:
                self._pause(str(error))

    def _pause(self, reason: str) -> None:
        self.counts.last_failure = reason
        logger.warning("webhook %s: waits, because of: %s", self._hook.name, reason)
        if self._stopping.wait(STORAGE_PAUSE):
            raise _Stopped

    def _unless_stopping(self) -> None:
        if self._stopping.is_set():
            raise _Stopped


def _headers(hook: Webhook, position: int, body: bytes) -> dict[str, str]:
    now = str(int(time.time()))
    signature = hmac.new(hook.secret.encode(), now.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "User-Agent": AGENT,
        "X-Video-Events-Delivery": store.delivery_id(hook.name, position),
        "X-Video-Events-Signature": f"t={now},v1={signature}",
    }
