"""Addresses that clients name: what is not allowed is not called, whatever way it is spelled."""

from __future__ import annotations

import os
import pickle
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import pytest

from service.addresses import SOURCE_SCHEMES, WEBHOOK_SCHEMES, AddressPolicy, Pinned, connections
from service.errors import AddressRefusedError, ConfigurationError, SourceError, SourceNotFoundError
from service.sources import open_source
from tests.rtsp import RtspServer, needs_rtsp

WriteVideo = Callable[..., Path]
EVERYTHING = ("0.0.0.0/0", "::/0", "cam.example.org")


class Names:
    """A resolver with a table; each name gives its next answer, the last one for ever."""

    def __init__(self, **table: list[Sequence[str]]) -> None:
        self.table = {name.replace("_", "."): answers for name, answers in table.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.table:
            raise socket.gaierror(-2, "unknown")
        answers = self.table[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def cam(*addresses: str) -> Names:
    return Names(cam_example_org=[addresses])


def check(address: str, allow: tuple[str, ...], names: Names, deny: tuple[str, ...] = ()) -> Pinned:
    return AddressPolicy(allow, deny).check(address, SOURCE_SCHEMES, names)


def test_nothing_is_allowed_by_default() -> None:
    """A service whose operator listed nothing calls nobody, and does not even ask the DNS."""
    names = cam("192.0.2.7")
    for address in ("rtsp://cam.example.org/1", "http://192.0.2.7/", "http://[2001:db8::1]/"):
        with pytest.raises(AddressRefusedError, match=r"allowed_sources.*--allow-source"):
            check(address, (), names)
    assert names.asked == []


@pytest.mark.parametrize(
    ("address", "url", "host", "server_name"),
    [
        ("rtsp://cam.example.org/a/b?x=1&y", "rtsp://192.0.2.7/a/b?x=1&y", "cam.example.org", None),
        ("RTSP://CAM.Example.ORG.:8554/a", "rtsp://192.0.2.7:8554/a", "cam.example.org:8554", None),
        ("http://u:p%40%2F@cam.example.org:80", "http://u:p%40%2F@192.0.2.7:80/", "cam.example.org:80", None),
        ("https://cam.example.org?a", "https://192.0.2.7/?a", "cam.example.org", "cam.example.org"),
        ("rtsps://cam.example.org/", "rtsps://192.0.2.7/", "cam.example.org", "cam.example.org"),
        ("http://198.51.100.1:8080/v", "http://198.51.100.1:8080/v", "198.51.100.1:8080", None),
        ("https://[2001:DB8:0::1]:444/", "https://[2001:db8::1]:444/", "[2001:db8::1]:444", "2001:db8::1"),
        ("http://[::ffff:198.51.100.1]/", "http://198.51.100.1/", "198.51.100.1", None),
        ("http://kamera-straße.example.org", "http://192.0.2.9/", "", None),
        ("http://münchen.example.org/", "http://192.0.2.9/", "xn--mnchen-3ya.example.org", None),
    ],
)
def test_what_is_allowed_is_pinned(address: str, url: str, host: str, server_name: str | None) -> None:
    """Host replaced by the checked address; credentials, port, path and query are kept; the name is told."""
    names = cam("192.0.2.7", "2001:db8::7")
    names.table["xn--mnchen-3ya.example.org"] = [["192.0.2.9"]]
    policy = AddressPolicy(("*.Example.ORG", "198.51.100.0/24", "2001:db8::1"))
    if "ß" in address:  # two standards make two names of it
        with pytest.raises(AddressRefusedError, match="xn--"):
            policy.check(address, SOURCE_SCHEMES, names)
        return
    pinned = policy.check(address, SOURCE_SCHEMES, names)
    assert (pinned.url, pinned.host, pinned.server_name) == (url, host, server_name)
    assert "p%40" not in repr(pinned)


HOSTILE = [
    "",
    "cam.example.org",
    "/etc/passwd",
    "0",
    "file:///etc/passwd",
    "FILE://localhost/etc/passwd",
    "concat:http://192.0.2.7/a",
    "async:http://192.0.2.7/",
    "rtsp+tcp://192.0.2.7/",
    "tcp://192.0.2.7:22",
    "udp://192.0.2.7:1",
    "gopher://192.0.2.7/",
    " http://192.0.2.7/",
    "http:/192.0.2.7/",
    "http:///192.0.2.7/",
    "http://",
    "http://?a",
    "http://:80/",
    "http://user@/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0x/",
    "http://0177.0.0.1/",
    "http://127.0.0.01/",
    "http://192.0.2.7./",
    "http://192.0.2.07/",
    "http://192.0.2/",
    "http://192.0.2.7.5/",
    "http://192.0.2.256/",
    "http://１９２.0.2.7/",
    "http://192。0。2。7/",
    "http://①92.0.2.7/",
    "http://cam%2eexample.org/",
    "http://%31%39%32.0.2.7/",
    "http://cam.example.org%00.evil.test/",
    "http://cam..example.org/",
    "http://-cam.example.org/",
    "http://cam.example.org\\@192.0.2.7/",
    "http://cam.example.org#@192.0.2.7/",
    "http://a@b@192.0.2.7/",
    "http://192.0.2.7:80:90/",
    "http://192.0.2.7:/",
    "http://192.0.2.7:0/",
    "http://192.0.2.7:65536/",
    "http://192.0.2.7:-1/",
    "http://192.0.2.7:８０/",
    "http://192.0.2.7:80a/",
    "http://[2001:db8::1/",
    "http://[2001:db8::1]x/",
    "http://[2001:db8::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[v1.x]/",
    "http://[192.0.2.7]/",
    "http://2001:db8::1/",
    "http://192.0.2.7/a b",
    "http://192.0.2.7/a\tb",
    "http://192.0.2.7/\r\nX: y",
    "http://192.0.2.7/\x00",
    "http://192.0.2.7/a|protocol_whitelist;file",
    "http://192.0.2.7/a;b",
    "http://192.0.2.7/'",
    'http://192.0.2.7/"',
    "http://192.0.2.7/<>",
    "http://192.0.2.7/%",
    "http://192.0.2.7/%zz",
    "http://192.0.2.7/%0d%0aX:%20y",
    "http://192.0.2.7/%00",
    "http://192.0.2.7/é",
    "http://u:%0d%0aX@192.0.2.7/",
    "http://u:%q@192.0.2.7/",
    "http://u%22:p@192.0.2.7/",
    "http://ü:p@192.0.2.7/",
    "rtsp://192.0.2.7/a?udp",
    "rtsp://192.0.2.7/a?x=1&MULTICAST",
    "http://" + "a" * 1000,
    "http://192.0.2.7/" + "a" * 3000,
]


@pytest.mark.parametrize("address", HOSTILE)
def test_hostile_spellings_are_refused(address: str) -> None:
    """Even where every address is allowed, what parsers may read differently is called in no spelling."""
    names = Names(cam_example_org=[["192.0.2.7"]], cam=[["192.0.2.7"]], localhost=[["192.0.2.7"]])
    with pytest.raises(AddressRefusedError) as caught:
        check(address, EVERYTHING, names)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "ip",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "224.0.0.1"),
        *("239.1.2.3", "255.255.255.255", "240.0.0.1", "100.100.100.200", "::1", "::", "::127.0.0.1"),
        *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "fe80::1", "ff02::1", "64:ff9b::7f00:1"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "fd00:ec2::254"),
    ],
)
def test_special_addresses_need_an_entry_of_their_own(ip: str) -> None:
    """Neither an allowed name nor the whole internet opens this machine, its link or a cloud's metadata."""
    literal = f"[{ip}]" if ":" in ip else ip
    for allow in (("cam.example.org",), EVERYTHING):
        with pytest.raises(AddressRefusedError, match="address is"):
            check("http://cam.example.org/", allow, cam("192.0.2.7", ip))
    with pytest.raises(AddressRefusedError, match="address is"):
        check(f"http://{literal}/", EVERYTHING, cam())


def test_special_addresses_can_be_opened_one_by_one() -> None:
    """An operator with a camera on this machine or on its link says so; deny still wins."""
    assert check("http://127.0.0.1:8554/", ("127.0.0.1",), cam()).ip == "127.0.0.1"
    assert check("http://cam.example.org/", ("cam.example.org", "127.0.0.0/8"), cam("127.0.0.2"))
    assert check("http://169.254.7.7/", ("169.254.7.0/24",), cam())
    assert check("http://[::1]/", ("[::1]",), cam()).url == "http://[::1]/"
    local = Names(localhost=[["::1", "127.0.0.1"]])
    assert check("http://LOCALHOST:80/", ("localhost",), local).host == "localhost:80"
    for allow, deny in (
        (("127.0.0.1",), ()),
        (("127.0.0.0/8",), ("127.0.0.2",)),
        (("localhost",), ("127.0.0.2",)),
    ):
        with pytest.raises(AddressRefusedError):
            check("http://127.0.0.2/", allow, cam(), deny)


def test_every_answer_of_the_dns_counts_and_it_is_asked_once() -> None:
    """A name that gives a good address now and a bad one later stays with the good one; mixed is refused."""
    names = Names(cam_example_org=[["192.0.2.7"], ["127.0.0.1"]])
    pinned = check("rtsp://cam.example.org/", ("cam.example.org",), names)
    assert (pinned.ip, names.asked) == ("192.0.2.7", ["cam.example.org"])
    for mixed in (["192.0.2.7", "10.0.0.1"], ["10.0.0.1", "192.0.2.7"], ["192.0.2.7", "64:ff9b::a00:1"]):
        with pytest.raises(AddressRefusedError, match=r"10\.0\.0\.1|a00:1"):
            check("rtsp://cam.example.org/", ("cam.example.org",), cam(*mixed), deny=("10.0.0.0/8",))
        with pytest.raises(AddressRefusedError):
            check("rtsp://cam.example.org/", ("192.0.2.0/24",), cam(*mixed))


def test_denied_wins_over_allowed() -> None:
    """Names and networks in deny are refused though allow has them, mapped into IPv6 or not."""
    names = Names(cam_example_org=[["10.0.0.1"]], bad_example_org=[["192.0.2.7"]], org=[["192.0.2.7"]])
    deny = ("bad.example.org", "10.0.0.0/8", "::ffff:198.51.100.0/120")
    for address in (
        "http://bad.example.org/",
        "http://BAD.example.org./",
        "http://cam.example.org/",
        "http://[::ffff:10.0.0.1]/",
        "http://198.51.100.3/",
    ):
        with pytest.raises(AddressRefusedError):
            check(address, ("*.example.org", "0.0.0.0/0", "::/0"), names, deny)
    assert "bad.example.org" not in names.asked
    with pytest.raises(AddressRefusedError):  # *.org is what is below org, not itself, and not xorg
        check("http://org/", ("*.org",), names)


def test_names_that_do_not_resolve_are_not_found() -> None:
    """A typing error is no matter of what is allowed."""
    with pytest.raises(SourceNotFoundError, match=r"nowhere\.example\.org"):
        check("rtsp://u:secret@nowhere.example.org/", ("*.example.org",), cam())
    with pytest.raises(SourceNotFoundError):
        check("rtsp://cam.example.org/", ("*.example.org",), cam())


def test_schemes_are_those_of_the_caller() -> None:
    """A webhook is never sent to an RTSP address."""
    with pytest.raises(AddressRefusedError, match="http, https"):
        AddressPolicy(("192.0.2.7",)).check("rtsp://192.0.2.7/", WEBHOOK_SCHEMES, cam())


@pytest.mark.parametrize(
    "address",
    [
        *("http://user:secret@192.0.2.9/", "http://user:secret@b@192.0.2.9/", "ftp://user:secret@192.0.2.7/"),
        *("http://user:secret/@192.0.2.7/", "http://user:secret;@192.0.2.7/", "http://:secret@127.1/?secret"),
    ],
)
def test_refusals_never_show_credentials(address: str) -> None:
    """What goes into answers and logs has the host at most."""
    with pytest.raises(AddressRefusedError) as caught:
        check(address, ("192.0.2.7",), cam())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        *(
            "",
            "*",
            "*.",
            "a b",
            "http://a",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "0x7f.1",
            "10.1",
            "a..b",
            "[::1",
            "é%",
        ),
        *("cam.example.org:554", "cam/1", "*.*.org", "a*.org", "::ffff:1.2.3.4/5"),
    ],
)
def test_entries_of_a_policy_are_validated(entry: str) -> None:
    """A mistake in the operator's list is told at the start, not found out by an attacker."""
    with pytest.raises(ConfigurationError):
        AddressPolicy((entry,))
    with pytest.raises(ConfigurationError):
        AddressPolicy((), (entry,))


def test_a_policy_travels_to_other_processes() -> None:
    """It is checked again where the stream is opened."""
    policy = AddressPolicy(("*.example.org", "10.0.0.0/8"), ("10.0.0.1",), remedy="ask Ann")
    again = pickle.loads(pickle.dumps(policy))
    assert again == policy
    with pytest.raises(AddressRefusedError, match="ask Ann"):
        again.check("http://10.0.0.1/", SOURCE_SCHEMES, cam())


@contextmanager
def web(answer: Callable[[BaseHTTPRequestHandler], tuple[int, dict[str, str], bytes]]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self)
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_pinned_source_asks_for_its_name_and_is_led_nowhere(
    write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sees the name as Host; neither redirect nor playlist makes the decoder call others."""
    video = write_video("clip.avi").read_bytes()
    seen: list[tuple[str, list[str] | None]] = []
    elsewhere: list[str] = []

    def other(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        elsewhere.append(request.path)
        return 200, {}, video

    def first(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        seen.append((request.path, request.headers.get_all("Host")))
        if request.path == "/moved":
            return 302, {"Location": f"http://127.0.0.1:{other_port}/clip.avi"}, b""
        if request.path == "/list.m3u8":
            lines = (
                "#EXTM3U",
                "#EXT-X-TARGETDURATION:2",
                "#EXTINF:1,",
                f"http://127.0.0.1:{other_port}/s.ts",
            )
            return 200, {}, "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()
        return 200, {}, video

    policy = AddressPolicy(("cam.example.org", "127.0.0.1"))
    with web(other) as other_port, web(first) as port:

        def pinned(path: str) -> Pinned:
            url = f"http://cam.example.org:{port}/{path}"
            return policy.check(url, SOURCE_SCHEMES, cam("127.0.0.1"))

        target = pinned("clip.avi")
        with open_source(target.url, host=target.host, open_timeout=5) as source:
            assert source.read() is not None
        assert seen == [("/clip.avi", [f"cam.example.org:{port}"])]
        for path in ("moved", "list.m3u8"):
            with pytest.raises(SourceError):
                open_source(pinned(path).url, host=target.host, open_timeout=5)
        assert elsewhere == []
        with monkeypatch.context() as patch:
            patch.setattr(cv2, "getBuildInformation", lambda: "    avformat:   YES (62.3.100)\n")
            with pytest.raises(SourceError, match="follows redirects"):
                open_source(target.url, host=target.host, open_timeout=5)
        with open_source(f"http://127.0.0.1:{port}/moved", open_timeout=5):
            assert elsewhere  # the operator's own addresses may move
        for host in ("a|b;c", "a\r\nX: y", "", "a b", "a'"):
            with pytest.raises(SourceError, match="Host header"):
                open_source(target.url, host=host, open_timeout=5)


def test_connections_are_known_by_their_other_end() -> None:
    """Those of this process only, once each, and no more when they are closed."""
    before = connections()
    with socket.create_server(("127.0.0.2", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as one:
            name = os.readlink(f"/proc/self/fd/{one.fileno()}")
            opened = len(os.listdir("/proc/self/fd"))
            assert connections() - before == {(name, "127.0.0.2")}
            assert len(os.listdir("/proc/self/fd")) == opened
        assert connections() == before


@needs_rtsp
def test_no_frame_comes_from_where_a_camera_redirects_to() -> None:
    """Whoever controls a camera that is allowed does not get at the pictures of another one."""

    class Redirect(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline():
                head = []
                while (line := self.rfile.readline()).strip():
                    head.append(line)
                sequence = next(line for line in head if line.startswith(b"CSeq")).decode()
                self.wfile.write(f"RTSP/1.0 302 Moved\r\n{sequence}Location: {other.url}\r\n\r\n".encode())

    with RtspServer() as other, socketserver.ThreadingTCPServer(("127.0.0.2", 0), Redirect) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"rtsp://127.0.0.2:{server.server_address[1]}/live"
        target = AddressPolicy(("127.0.0.2",)).check(address, SOURCE_SCHEMES)
        with pytest.raises(AddressRefusedError, match="redirects to another host"):
            open_source(target.url, host=target.host, open_timeout=10)
        server.shutdown()
