"""Webhooks: every wanted message arrives, signed and in order, whatever becomes of targets and of us."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from service import event_log
from service.addresses import WEBHOOK_SCHEMES, AddressPolicy, lookup
from service.backoff import Backoff
from service.database import Database
from service.errors import ConfigurationError
from service.event_log import EventLog, LoggedMessage
from service.types import Event, EventMessage, EventPhase
from service.webhooks import store, worker
from service.webhooks.post import Post
from service.webhooks.records import DeliveryLimits, Webhook
from service.webhooks.sender import WebhookSender
from tests.service.webhook_targets import Received, Target, serving, until

SECRET = "a secret of some length"
QUICK = DeliveryLimits(
    attempts=3, connect_timeout=5.0, total_timeout=5.0, backoff=Backoff(first=0.01, limit=0.5)
)
LOCAL = AddressPolicy(("127.0.0.1", "hooks.example.org"))


@pytest.fixture
def target() -> Iterator[Target]:
    with serving() as target:
        yield target


class Service:
    """A log and what sends from it; may be opened again on the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack = ExitStack()

    def open(self, *hooks: Webhook, policy: AddressPolicy = LOCAL, **options: Any) -> WebhookSender:
        schema = event_log.SCHEMA + store.SCHEMA
        self.database = self.stack.enter_context(Database(self.path, schema))
        self.log = EventLog(self.database)
        options = {"limits": QUICK} | options
        sender = WebhookSender(self.database, self.log, hooks, policy, render, **options)
        return self.stack.enter_context(sender)

    def close(self) -> None:
        self.stack.close()

    def add(self, number: int, stream: str = "yard", label: str = "tennis", phase: str = "started") -> None:
        event = Event(f"{stream}-{number}", stream, label, float(number), None, 0.9, 0.8, 0.25)
        self.log.append([EventMessage(0, EventPhase(phase), event)], model="sports 1").result()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "events.db")
    yield service
    service.close()


def render(logged: LoggedMessage) -> bytes:
    return json.dumps({"position": logged.position, "label": logged.message.event.label}).encode()


def hook(target: Target, name: str = "hook", **options: Any) -> Webhook:
    return Webhook(**({"name": name, "url": target.url, "secret": SECRET} | options))


def test_a_message_arrives_signed(service: Service, target: Target) -> None:
    """A receiver can prove who sent a body and when, tell repetitions, and sees its own name as Host."""
    url = f"http://u:p%40@hooks.example.org:{target.port}/hook?a=b"
    service.open(hook(target, url=url), resolve=lambda *_: ["127.0.0.1"])
    service.add(1)
    until(lambda: len(target.received) == 1)
    (received,) = target.received
    stamp, signature = received.headers["X-Video-Events-Signature"].split(",")
    signed = stamp.removeprefix("t=").encode() + b"." + received.body
    assert signature == "v1=" + hmac.digest(SECRET.encode(), signed, hashlib.sha256).hex()
    assert abs(time.time() - int(stamp.removeprefix("t="))) < 60
    assert json.loads(received.body) == {"position": 1, "label": "tennis"}
    assert (received.path, received.delivery) == ("/hook?a=b", "hook-1")
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers.get_all("Host") == [f"hooks.example.org:{target.port}"]
    assert received.headers["Authorization"] == "Basic dTpwQA=="
    assert received.headers["User-Agent"] == "video-events"


def test_only_what_is_wanted_is_sent_and_in_order(service: Service, target: Target) -> None:
    """Streams, labels and phases choose; what a hook does not want is passed over."""
    chosen = {"streams": ("yard",), "labels": ("tennis",), "phases": (EventPhase.ENDED,)}
    service.open(hook(target, "some", **chosen), hook(target, "all"))
    for number in range(70):
        service.add(number, stream=("yard", "gate")[number % 2], phase="ended")
    service.add(70, label="golf", phase="ended")
    service.add(71, phase="updated")
    service.add(72, phase="ended")
    until(lambda: len(target.received) == 36 + 72)
    by_hook = [[d for d in target.deliveries if d.startswith(name)] for name in ("some", "all")]
    assert by_hook[0] == [f"some-{position}" for position in (*range(1, 71, 2), 73)]
    assert by_hook[1] == [f"all-{position}" for position in (*range(1, 72), 73)]


def test_a_busy_target_is_asked_again_and_nothing_overtakes(service: Service, target: Target) -> None:
    """After 503, 429 and a lost connection the same message comes again, before the next."""
    answers = iter([503, (429, {"Retry-After": "0"}), 204, 204])
    target.answer = lambda _: next(answers)
    sender = service.open(hook(target))
    service.add(1)
    service.add(2)
    until(lambda: sender.counts["hook"].delivered == 2)
    assert target.deliveries == ["hook-1", "hook-1", "hook-1", "hook-2"]
    assert sender.counts["hook"].failed == 2
    assert sender.dead_letters().result() == ()


@pytest.mark.parametrize("header", ["1", "date"])
def test_retry_after_is_honoured_up_to_the_limit(service: Service, target: Target, header: str) -> None:
    """A target says when to come back, in seconds or as a date; but not later than the longest pause."""
    arrived: list[float] = []

    def answer(_: Received) -> int | tuple[int, dict[str, str]]:
        arrived.append(time.monotonic())
        value = header if header == "1" else "Fri, 31 Dec 9999 23:59:59 GMT"
        return 204 if len(arrived) > 1 else (503, {"Retry-After": value})

    target.answer = answer
    sender = service.open(hook(target))
    service.add(1)
    until(lambda: sender.counts["hook"].delivered == 1)
    assert arrived[1] - arrived[0] >= 0.5


def test_what_is_not_taken_is_put_aside_and_can_be_queued_again(service: Service, target: Target) -> None:
    """Dead letters say why and after how many attempts; the next message goes on; a retry delivers."""
    statuses = {"hook-1": 410, "hook-2": 500}
    target.answer = lambda received: statuses.get(received.delivery, 204)
    sender = service.open(hook(target))
    for number in (1, 2, 3):
        service.add(number)
    until(lambda: sender.counts["hook"].delivered == 1)
    letters = sender.dead_letters().result()
    assert [(letter.id, letter.attempts, letter.queued) for letter in letters] == [
        ("hook-2", 3, False),
        ("hook-1", 1, False),
    ]
    assert "500" in letters[0].reason
    assert "410" in letters[1].reason
    assert len(sender.dead_letters(1).result()) == 1
    statuses.clear()
    assert sender.retry_dead("hook-2").result()
    until(lambda: len(sender.dead_letters().result()) == 1)
    assert target.deliveries[-1] == "hook-2"
    assert json.loads(target.received[-1].body)["position"] == 2
    for unknown in ("hook-2", "hook-9", "other-1", "hook", "hook-x", ""):
        assert not sender.retry_dead(unknown).result()
    statuses["hook-1"] = 404
    assert sender.retry_dead("hook-1").result()
    until(lambda: "404" in sender.dead_letters().result()[0].reason)
    assert sender.dead_letters().result()[0].attempts > 1, "who is just moving house answers so, too"
    service.add(4)  # positions go on as if there were no dead letters
    until(lambda: target.deliveries[-1] == "hook-4")


def test_dead_letters_are_bounded(service: Service, target: Target) -> None:
    """Of a hook that is dead for long the newest letters are kept; the others are counted."""
    target.answer = lambda _: 410
    limits = DeliveryLimits(most_dead=3)
    sender = service.open(hook(target), limits=limits)
    for number in range(5):
        service.add(number)
    until(lambda: sender.counts["hook"].dead == 5)
    assert [letter.position for letter in sender.dead_letters().result()] == [5, 4, 3]
    assert sender.counts["hook"].dead_deleted == 2


def test_a_restart_goes_on_where_it_was(service: Service, target: Target) -> None:
    """What is logged while the sender is away comes later; only what was under way comes twice."""
    answering = threading.Event()
    target.answer = lambda received: 204 if received.delivery == "hook-1" or answering.wait(30) else 500
    sender = service.open(hook(target))
    service.add(1)
    service.add(2)
    until(lambda: len(target.received) == 2 and sender.counts["hook"].position == 1)
    sender.close()  # with a request under way, which is broken off and not waited for
    assert not any(thread.name == "webhook hook" for thread in threading.enumerate())
    service.add(3)
    service.close()
    answering.set()
    target.received.clear()
    sender = service.open(hook(target), hook(target, "new"))
    service.add(4)
    until(lambda: sender.counts["hook"].position == sender.counts["new"].position == 4)
    assert [d for d in target.deliveries if d.startswith("hook")] == ["hook-2", "hook-3", "hook-4"]
    assert [d for d in target.deliveries if d.startswith("new")] == ["new-4"]


def test_messages_forgotten_before_they_were_sent_are_counted(service: Service, target: Target) -> None:
    """Retention may overtake a hook that was away; that is told, and it goes on."""
    service.open(hook(target)).close()
    for number in range(3):
        service.add(number)
    assert service.log.forget_before(time.time() + 1000) == 3
    service.close()
    sender = service.open(hook(target))
    service.add(4)
    until(lambda: target.deliveries == ["hook-4"])
    assert sender.counts["hook"].forgotten == 3


def test_a_refused_target_is_never_called(service: Service, target: Target) -> None:
    """What a hook's address resolves to is judged at each delivery; refused ones are dead letters."""
    url = f"http://hooks.example.org:{target.port}/"
    policy = AddressPolicy(("hooks.example.org",), remedy="see allowed_webhooks")
    sender = service.open(hook(target, url=url), policy=policy, resolve=lambda *_: ["127.0.0.1"])
    service.add(1)
    until(lambda: sender.counts["hook"].dead == 1)
    (letter,) = sender.dead_letters().result()
    assert "loopback" in letter.reason
    assert "see allowed_webhooks" in letter.reason
    assert (letter.attempts, target.received) == (1, [])


def test_failing_names_and_closed_ports_are_tried_again(service: Service, target: Target) -> None:
    """A DNS or a target that is down for a moment costs no message."""
    failures = [socket.gaierror(-3, "try again"), socket.gaierror(-3, "try again")]

    def resolve(*_: object) -> list[str]:
        if failures:
            raise failures.pop()
        return ["127.0.0.1"]

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    closed = hook(target, "closed", url=f"http://127.0.0.1:{port}/")
    sender = service.open(
        hook(target, url=f"http://hooks.example.org:{target.port}/"), closed, resolve=resolve
    )
    service.add(1)
    until(lambda: sender.counts["hook"].delivered == sender.counts["closed"].dead == 1)
    assert sender.counts["hook"].failed == 2
    (letter,) = sender.dead_letters().result()
    assert (letter.webhook, letter.attempts) == ("closed", 3)


@pytest.mark.parametrize("drip", [False, True])
def test_a_hanging_target_delays_no_other_and_is_given_up(
    service: Service, target: Target, drip: bool
) -> None:
    """Silence, or a byte now and then, ends after the total timeout; the other hook has long been served."""
    stopped = threading.Event()

    def hang(listener: socket.socket) -> None:
        with ExitStack() as stack:
            while not stopped.is_set():
                try:
                    connection = stack.enter_context(listener.accept()[0])
                except OSError:
                    return
                while drip and not stopped.wait(0.1):
                    try:
                        connection.sendall(b"HTTP/1.1 200 OK\r\n"[:1])
                    except OSError:
                        break

    limits = DeliveryLimits(attempts=1, total_timeout=3.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang, args=(listener,))
        thread.start()
        slow = hook(target, "slow", url=f"http://127.0.0.1:{listener.getsockname()[1]}/")
        sender = service.open(slow, hook(target), limits=limits)
        for number in range(5):
            service.add(number)
        until(lambda: sender.counts["hook"].delivered == 5)
        assert sender.counts["slow"].dead == 0
        until(lambda: sender.counts["slow"].dead >= 1)
        sender.close()
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert "3 s" in sender.dead_letters().result()[-1].reason


def test_redirects_are_not_followed(service: Service, target: Target) -> None:
    """A target cannot send us on to an address that nobody checked."""
    with serving() as other:
        target.answer = lambda _: (307, {"Location": other.url})
        sender = service.open(hook(target))
        service.add(1)
        until(lambda: sender.counts["hook"].dead == 1)
        assert "307" in sender.dead_letters().result()[0].reason
        assert (len(target.received), other.received) == (1, [])


def test_certificates_are_checked_against_the_name(service: Service, tmp_path: Path) -> None:
    """The connection goes to the pinned address, the certificate has to be made out to the name."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on this machine")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hooks.example.org"
    command += " -addext subjectAltName=DNS:hooks.example.org"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    names: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    policy = AddressPolicy(("127.0.0.1", "*.example.org"))
    with serving(server) as target:
        hooks = [
            hook(target, name, url=f"https://{name}.example.org:{target.port}/")
            for name in ("hooks", "other")
        ]
        client = ssl.create_default_context(cafile=str(certificate))
        limits = DeliveryLimits(attempts=1)
        options: dict[str, Any] = {"policy": policy, "limits": limits, "resolve": lambda *_: ["127.0.0.1"]}
        sender = service.open(*hooks, tls=client, **options)
        service.add(1)
        until(lambda: sender.counts["hooks"].delivered == sender.counts["other"].dead == 1)
        assert sorted(map(str, names)) == ["hooks.example.org", "other.example.org"]
        service.close()
        sender = service.open(hooks[0], **options)  # the system's certificates do not know this one
        service.add(2)
        until(lambda: sender.counts["hooks"].dead == 1)
        assert target.deliveries == ["hooks-1"]


def test_settings_that_cannot_work_are_refused(target: Target) -> None:
    """A short secret, a name that is no header and two hooks of one name are told at the start."""
    for wrong in ({"name": "a b"}, {"name": ""}, {"name": "x\r\ny"}, {"secret": "short"}):
        with pytest.raises(ConfigurationError):
            hook(target, **wrong)
    assert SECRET not in repr(hook(target))


def stored_position(service: Service) -> int:
    """Where the hook would go on after a crash."""
    (found,) = service.database.read(
        lambda db: db.execute("SELECT position FROM webhook_cursors WHERE name = 'hook'").fetchone()
    ).result()
    return int(found)


def test_what_was_passed_over_is_not_read_again(service: Service, target: Target) -> None:
    """A hook that wants none of many messages remembers at its end, without a crash, that it saw them."""
    sender = service.open(hook(target, labels=("chess",)))
    for number in range(3):
        service.add(number)
    until(lambda: sender.counts["hook"].position == 3)
    assert stored_position(service) == 0
    sender.close()
    assert stored_position(service) == 3


def test_a_crash_has_only_so_much_read_again(
    service: Service, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Now and then a hook that wants nothing for long stores how far it is."""
    monkeypatch.setattr(worker, "SKIPPED_AT_MOST", 3)
    service.open(hook(target, labels=("chess",)))
    for number in range(4):
        service.add(number)
    until(lambda: stored_position(service) >= 3)


def test_a_request_can_be_broken_off_before_it_is_connected(target: Target) -> None:
    """The service ends while an address is being dialled: nothing is sent any more."""
    post = Post(connect_timeout=5.0, total_timeout=5.0)
    post.abort()
    with pytest.raises(TimeoutError):
        post.run(LOCAL.check(target.url, WEBHOOK_SCHEMES, lookup), b"x", {}, None)
    assert target.received == []
