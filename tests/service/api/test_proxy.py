"""Behind a proxy: below another path, with the host that it names, and pictures that are not held back."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from service.api.guard import MAX_BODY
from tests.service.api.conftest import Serve, make_clip, until
from tests.service.api.proxy import below
from tests.service.live import ColourModel


def test_all_that_it_names_is_below_the_path_of_the_proxy(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Links, Location and the description can be followed as they are; the log has the routes' paths."""
    caplog.set_level(logging.INFO, "service.access")
    film = make_clip(tmp_path / "film.avi")
    streams = {"film": {"source": str(film), "record": "always"}}
    with (
        serve(ColourModel(), root_path="/some/video/", streams=streams) as served,
        below("/some/video", served.url) as url,
        httpx.Client(timeout=30) as client,
    ):
        host = url.removesuffix("/some/video")
        assert client.get(f"{url}/openapi.json").json()["servers"] == [{"url": "/some/video"}]
        large = film.read_bytes() + bytes(MAX_BODY)  # more than any body but an upload's may have
        answer = client.post(f"{url}/clips", files={"file": large})
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == answer.json()["links"]["self"]
        links = list(answer.json()["links"].values())
        until(lambda: client.get(host + answer.headers["location"]).json()["state"] == "done")
        stream = client.get(f"{url}/streams/film").json()["links"]
        with connect(host.replace("http", "ws") + stream.pop("labels")) as socket:
            assert json.loads(socket.recv())["stream"]["links"]["self"] == stream["self"]
        with client.stream("GET", host + stream.pop("live")) as live:
            assert live.status_code == 200
        (recording,) = until(lambda: client.get(host + stream["recordings"]).json()["recordings"])
        for path in (*links, *stream.values(), recording["link"]):
            assert client.get(host + path).status_code in (200, 503), path  # 503: the film is over
        assert client.get(f"{served.url}/healthz").status_code == 200  # of who asks the service itself
        assert client.put(f"{url}/streams").headers["allow"] == "GET, HEAD, POST"
    logged = [record.getMessage() for record in caplog.records if record.name == "service.access"]
    assert any(line.startswith("POST /clips 202") for line in logged)
    assert any(line.startswith("WS /streams/film/labels 101") for line in logged)
    assert not any("/some/video" in line for line in logged)


def test_a_proxy_is_told_to_pass_on_each_picture_at_once(serve: Serve, tmp_path: Path) -> None:
    """nginx would keep the end of each picture until the next one comes, seconds later."""
    with serve(ColourModel(), streams={"film": str(make_clip(tmp_path / "film.avi"))}) as served:
        with served.client.stream("GET", "/streams/film/live.mjpeg") as live:
            assert live.headers["x-accel-buffering"] == "no"
        assert "x-accel-buffering" not in served.client.get("/streams").headers


def test_a_page_that_is_refused_is_told_which_setting_to_look_at(serve: Serve) -> None:
    """The likeliest mistake before a proxy: it names itself the host, and what the page sends is refused."""
    page = {"Origin": "https://cams.example"}
    with serve(allowed_hosts=("cams.example", "127.0.0.1")) as served:
        refused = served.client.post("/clips", headers=page)
        assert refused.status_code == 403
        assert "'https://cams.example'" in refused.json()["detail"]
        assert "does not pass on Host" in refused.json()["detail"]
        passed_on = served.client.post("/clips", headers=page | {"Host": "cams.example"})
        assert passed_on.status_code == 415
        other = served.client.get("/about", headers={"Host": "other.example"})
        assert "'other.example' is not among the allowed_hosts" in other.json()["detail"]
