from __future__ import annotations

import json
import logging
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from service.api.app import create_app
from service.api.auth import Gatekeeper
from service.api.settings import Scope, ServeSettings, Token, load_settings
from service.errors import ConfigurationError, SinkError
from tests.service.api.conftest import Serve, Served, until
from tests.service.api.fakes import ColourProvider
from tests.service.test_event_log import message

VIEWER, UPLOADER, MANAGER = "viewer-" + "v" * 20, "uploader-" + "u" * 20, "manager-" + "m" * 20
TOKENS = tuple(
    Token.model_validate({"name": scope, "token": token, "scopes": [scope]})
    for scope, token in (("view", VIEWER), ("upload", UPLOADER), ("manage", MANAGER))
)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_tokens_and_scopes(serve: Serve, clip: Path) -> None:
    """Each route asks for its scope; no token and a wrong one are 401, too little of one 403."""
    with serve(tokens=TOKENS) as served:
        get, post = served.client.get, served.client.post
        assert get("/healthz").status_code == get("/").status_code == get("/docs").status_code == 200
        for path in (
            "/clips",
            "/clips/x",
            "/clips/x/annotated",
            "/clips/x/events",
            "/events",
            "/metrics",
            "/about",
        ):
            assert get(path).status_code == 401
            assert get(path, headers=bearer("wrong" * 5)).status_code == 401
            assert get(path, headers=bearer(VIEWER)).status_code in (200, 404)
            assert get(path, params={"token": VIEWER}).status_code in (200, 404)
        for token, scopes in ((VIEWER, ["view"]), (MANAGER, ["manage", "upload", "view"])):
            assert get("/about", headers=bearer(token)).json()["scopes"] == scopes
        assert get("/clips").headers["www-authenticate"].startswith("Bearer")
        for token, status in ((None, 401), (VIEWER, 403), (UPLOADER, 202), (MANAGER, 202)):
            with clip.open("rb") as file:
                answer = post("/clips", files={"file": file}, headers=bearer(token) if token else {})
            assert answer.status_code == status, answer.text
        clip_id = answer.json()["id"]
        assert served.client.delete(f"/clips/{clip_id}", headers=bearer(VIEWER)).status_code == 403
        assert served.client.delete(f"/clips/{clip_id}", headers=bearer(UPLOADER)).status_code == 204


def test_sockets_want_a_token(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A WebSocket without a valid token is refused before it is opened; header and query both do.

    Each is logged and counted, without its token: nobody guesses unseen.
    """
    caplog.set_level(logging.INFO, "service.access")
    with serve(tokens=TOKENS) as served:
        for query in ("", "?token=wrong"):
            with pytest.raises(InvalidStatus) as refused:
                connect(served.socket_url(query))
            assert refused.value.response.status_code == 401
        with connect(served.socket_url(f"?token={VIEWER}")) as one:
            assert "hello" in one.recv()
        with connect(served.socket_url(), additional_headers=bearer(VIEWER)) as one:
            assert "hello" in one.recv()
            with pytest.raises(InvalidStatus):
                connect(served.socket_url("/none"))
            text = served.client.get("/metrics", headers=bearer(VIEWER)).text
    for route, status, count in (("/events", 101, 2), ("/events", 401, 2), ("(none)", 404, 1)):
        labels = f'{{method="WS",route="{route}",status="{status}"}}'
        assert f"video_events_http_requests_total{labels} {count}.0" in text
    assert 'video_events_http_request_seconds_count{route="/events"}' not in text  # nor how long they stay
    lines = [record.getMessage() for record in caplog.records if record.name == "service.access"]
    told = [line.split()[2] for line in lines if line.startswith("WS /events ")]
    assert told == ["401", "401", "101", "101"]
    assert not any(VIEWER in line or "wrong" in line for line in lines)


def test_foreign_pages_are_kept_out(served: Served) -> None:
    """Without tokens only the loopback's own names and pages may call: no DNS rebinding, no foreign form."""
    get, port = served.client.get, served.client.base_url.port
    assert get("/clips", headers={"Host": "evil.example"}).status_code == 403
    assert get("/clips", headers={"Host": f"localhost:{port}"}).status_code == 200
    for broken in ({"Host": "["}, {"Origin": "http://["}):
        assert get("/clips", headers=broken).status_code == 403
    own, foreign = f"http://127.0.0.1:{port}", "https://evil.example"
    assert served.client.post("/clips", headers={"Origin": foreign}, files={"file": b"x"}).status_code == 403
    with pytest.raises(InvalidStatus) as refused:
        connect(served.socket_url(), origin=foreign)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
    with connect(served.socket_url(), origin=own) as one:  # type: ignore[arg-type]
        assert "hello" in one.recv()


def test_pages_that_may_call_can_read_every_answer(serve: Serve) -> None:
    """As browsers have it (CORS): preflights, answers and refusals name the page; any other is refused."""
    page, foreign = "https://cams.example", "https://evil.example"
    asking = {"Access-Control-Request-Method": "PATCH"}
    allowed = "access-control-allow-origin"
    with serve(tokens=TOKENS, allowed_origins=(page,)) as served:
        call = served.client.request
        wanted = {"Access-Control-Request-Headers": "authorization, content-type, range"}
        preflight = call("OPTIONS", "/streams/own", headers=asking | wanted | {"Origin": page})
        assert (preflight.status_code, preflight.headers[allowed]) == (200, page)
        assert "access-control-allow-credentials" not in preflight.headers
        for method, path, token, body, status in (
            ("GET", "/about", VIEWER, b"", 200),
            ("GET", "/streams/own/snapshot.jpg", VIEWER, b"", 404),
            ("GET", "/about", "wrong" * 5, b"", 401),
            ("DELETE", "/streams/own", VIEWER, b"", 403),
            ("POST", "/streams", MANAGER, b" " * 100_000, 413),
        ):
            answer = call(method, path, headers=bearer(token) | {"Origin": page}, content=body)
            assert (answer.status_code, answer.headers[allowed]) == (status, page)
            assert "Origin" in answer.headers["vary"]
            assert {"Retry-After", "Content-Range"} <= set(
                answer.headers["access-control-expose-headers"].split(", ")
            )
        for method, more in (("OPTIONS", asking), ("GET", bearer(VIEWER))):
            answer = call(method, "/about", headers=more | {"Origin": foreign})
            assert (answer.status_code, allowed in answer.headers) == (403, False)
            assert answer.headers["content-type"] == "application/problem+json"
        assert allowed not in call("GET", "/about", headers=bearer(VIEWER)).headers


def test_probes_answer_under_any_name(serve: Serve) -> None:
    """Behind a proxy the service knows its public name alone; health checks call it by another."""
    tokens = [{"name": "me", "token": MANAGER, "scopes": ["manage"]}]
    with serve(allowed_hosts=("cams.example",), tokens=tokens) as served:
        get = served.client.get
        assert get("/healthz").status_code == 200
        assert get("/clips", headers=bearer(MANAGER)).status_code == 403
        assert get("/clips", headers=bearer(MANAGER) | {"Host": "cams.example"}).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/docs"])
def test_probes_may_ask_for_the_head_alone(served: Served, path: str) -> None:
    """As load balancers and curl -I do."""
    answer = served.client.head(path)
    assert answer.status_code == 200 or (path, answer.status_code) == ("/readyz", 503)  # not warm yet
    assert answer.content == b""


def test_head_is_get_without_its_body(serve: Serve) -> None:
    """For everything that can be got, of pictures that never end too; and it is counted as what it is."""
    with serve(streams={"own": "no-such-file.mp4"}) as served:
        head = served.client.head
        for path in ("/streams", "/streams/own", "/clips", "/openapi.json", "/page/app.js"):
            answer = head(path)
            assert (answer.status_code, answer.content) == (200, b"")
        length = head("/streams/own/events").headers["content-length"]
        assert length == str(len(served.client.get("/streams/own/events").content))
        live = head("/streams/own/live.mjpeg")
        assert (live.status_code, live.headers["content-type"][:10]) == (200, "multipart/")
        until(lambda: served.services.viewers.taken == 0)
        assert head("/streams/none").status_code == 404
        text = served.client.get("/metrics").text
        assert 'http_requests_total{method="HEAD",route="/clips",status="200"} 1.0' in text


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/streams", "GET, HEAD, POST"),
        ("PUT", "/streams/x", "DELETE, GET, HEAD, PATCH"),
        ("HEAD", "/models/x/labels/y/promote", "POST"),
    ],
)
def test_a_wrong_method_is_told_all_others(served: Served, method: str, path: str, allowed: str) -> None:
    answer = served.client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_no_redirect_carries_a_token_away(served: Served) -> None:
    """Behind a proxy with TLS it would lead to an address without."""
    assert served.client.get("/clips/?token=very-secret", follow_redirects=False).status_code == 404


def test_what_a_subscriber_says_is_not_listened_to(served: Served) -> None:
    """Neither words nor bytes end its subscription, and the next event comes."""
    with connect(served.socket_url()) as socket:
        assert "hello" in socket.recv()
        socket.send("words")
        socket.send(b"bytes")
        assert socket.ping().wait(30)  # answered after what was said before
        served.services.log.append([message("door", 1)], model="m").result()
        assert json.loads(socket.recv(timeout=30))["type"] == "event"


def test_every_error_is_a_problem_that_leaks_nothing(served: Served) -> None:
    """Whatever is wrong, the answer is problem details, without a path, a traceback or a class name."""
    answers = [
        served.client.get("/no/such/thing"),
        served.client.put("/clips"),
        served.client.get("/clips/clip_0"),
        served.client.get("/clips/..%2f..%2fetc%2fpasswd/annotated"),
        served.client.get("/clips/%2e%2e/events"),
        served.client.get("/page/..%2fapp.py"),
        served.client.get("/events", params={"limit": "0"}),
        served.client.get("/clips/x/events", params={"format": "exe"}),
        served.client.post("/events", content=b"x" * 100_000),
    ]
    assert [answer.status_code for answer in answers] == [404, 405, 404, 404, 404, 404, 422, 422, 413]
    for answer in answers:
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status"} <= answer.json().keys()
        assert not any(word in answer.text for word in ("Traceback", "Error", str(served.data), "service/"))


@pytest.mark.parametrize("error", [RuntimeError, SinkError])
def test_a_fault_of_ours_tells_no_details(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[Exception],
) -> None:
    """An unexpected exception is a 500 whose reason stands in the log of the service only, and once.

    So is one of our own that no route is known to raise. It has the headers of any other answer, and is
    counted and noted as what it is.
    """

    def fail(*_: object) -> None:
        raise error("secret of the house")

    page = "https://cams.example"
    caplog.set_level(logging.INFO, "service.access")
    with serve(tokens=TOKENS, allowed_origins=(page,)) as served:
        monkeypatch.setattr(type(served.services.clips), "all", fail)
        answer = served.client.get("/clips", headers=bearer(VIEWER) | {"Origin": page})
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert "secret" not in answer.text
        assert answer.headers["access-control-allow-origin"] == page
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        until(lambda: "GET /clips 500" in caplog.text)
        (failure,) = until(lambda: [record for record in caplog.records if record.exc_text])
    assert failure.levelname == "ERROR"
    assert "in fail" in failure.exc_text
    assert caplog.text.count("Error: secret of the house") == 1


def test_security_headers(served: Served) -> None:
    """The page may load nothing from elsewhere, be framed by nobody, and nothing is sniffed or kept."""
    for path in ("/", "/docs", "/page/app.js", "/healthz", "/nothing"):
        headers = served.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


def test_slow_sender_is_let_go(serve: Serve) -> None:
    """An upload of which nothing comes for too long is answered with 408 and gives its place back."""
    with serve(upload_idle_seconds=0.3, clips_waiting=1) as served:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", served.client.base_url.port or 0), 10) as slow:
                slow.sendall(
                    b"POST /clips HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
                    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
                )
                assert b" 408 " in slow.recv(4096)
        assert list((served.data / "clips").iterdir()) == []


def test_never_open_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the loopback the service does not start without a token, and says what to do."""
    with pytest.raises(ConfigurationError, match="VIDEO_EVENTS_TOKENS"):
        load_settings({"host": "0.0.0.0"})
    monkeypatch.setenv("VIDEO_EVENTS_TOKENS", '[{"name": "me", "token": "short-secret", "scopes": ["view"]}]')
    with pytest.raises(ConfigurationError) as error:
        load_settings({"host": "0.0.0.0"})
    assert "short-secret" not in str(error.value)
    monkeypatch.setenv("VIDEO_EVENTS_TOKENS", f'[{{"name": "me", "token": "{MANAGER}"}}]')
    settings = load_settings({"host": "0.0.0.0"})
    assert MANAGER not in repr(settings)


def test_flags_before_environment_before_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source of settings gives way to the one that is nearer to the hand; typing errors are told."""
    file = tmp_path / "serve.toml"
    file.write_text('port = 1\nmodel = "file"\nkeep_clips_days = 3\n')
    monkeypatch.setenv("VIDEO_EVENTS_PORT", "2")
    monkeypatch.setenv("VIDEO_EVENTS_MODEL", "environment")
    settings = load_settings({"port": 3, "host": None}, file)
    assert (settings.port, settings.model, settings.keep_clips_days) == (3, "environment", 3.0)
    file.write_text("prot = 1\n")
    with pytest.raises(ConfigurationError, match="prot"):
        load_settings({}, file)
    with pytest.raises(ConfigurationError, match="no such file"):
        load_settings({}, tmp_path / "none.toml")


def test_operation(served: Served) -> None:
    """Health, readiness, figures and the description of the API are there."""
    get: Any = served.client.get
    assert until(lambda: get("/readyz").status_code == 200)
    assert get("/readyz").json() == {"status": "ready"}
    assert get("/about").json()["labels"] == ["red", "green", "blue", "background"]
    text = get("/metrics").text
    assert 'video_events_http_requests_total{method="GET",route="/about",status="200"} 1.0' in text
    assert "video_events_log_position 0.0" in text
    assert "_created" not in text  # a second series beside each counter, which nobody asks for
    for counted in ("inference_restarts", "subscriber_catch_ups"):  # what only rises is a counter
        assert f"# TYPE video_events_{counted}_total counter" in text
    assert "/clips/{clip_id}/annotated" in get("/openapi.json").json()["paths"]
    assert isinstance(get("/"), httpx.Response)


def test_the_description_tells_of_tokens_and_parts() -> None:
    """So that generated clients can authenticate where they have to, and know a part of a video."""
    for tokens, alternatives in ((TOKENS, [{"bearer": []}]), ((), [{"bearer": []}, {}])):
        description = create_app(ServeSettings(tokens=tokens), ColourProvider()).openapi()
        assert description["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
        paths = description["paths"]
        assert paths["/streams"]["post"]["security"] == alternatives
        assert "security" not in paths["/healthz"]["get"]
    for path in ("/clips/{clip_id}/annotated", "/streams/{name}/recordings/{file}"):
        assert {"200", "206", "416"} <= paths[path]["get"]["responses"].keys()


def test_a_body_without_a_length_is_limited_too(served: Served) -> None:
    """A chunked request cannot fill the memory of the service where uploads are not expected."""
    chunks = (b'"' + b"x" * 8000 for _ in range(20))
    answer = served.client.post("/streams", content=chunks, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert served.client.get("/healthz").status_code == 200


def test_a_page_whose_address_only_begins_alike_is_foreign() -> None:
    """An origin is ours only where its host is, to the last letter and port."""
    gatekeeper = Gatekeeper(ServeSettings())
    for origin, welcome in (
        ("http://localhost:80", True),
        ("http://localhost:80.evil.example", False),
        ("http://localhost:8080", False),
        ("http://localhost", False),
    ):
        refusal = gatekeeper.refusal(Headers({"host": "localhost:80", "origin": origin}))
        assert (refusal is None) is welcome


def test_what_a_scope_opens() -> None:
    """Who may upload may look at what becomes of it; who manages may do all."""
    gatekeeper = Gatekeeper(ServeSettings(tokens=TOKENS))
    view, upload = frozenset({Scope.VIEW}), frozenset({Scope.VIEW, Scope.UPLOAD})
    found = [gatekeeper.scopes(token) for token in (VIEWER, UPLOADER, MANAGER, "wrong", "", None)]
    assert found == [view, upload, frozenset(Scope), None, None, None]
