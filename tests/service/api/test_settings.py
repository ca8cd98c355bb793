"""Streams and webhooks in flags, the environment and a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import service
from service.api.settings import ServeSettings, load_settings
from service.errors import ConfigurationError
from service.streams.records import Record, StreamOptions

FILE = """
allowed_sources = ["192.168.0.0/16", "*.cameras.example"]

[streams]
yard = "rtsp://me:secret@192.168.0.7/1"

[streams.court]
source = "rtsp://192.168.0.8/main"
labels = ["badminton"]
window_seconds = 1.5
crop = [0.0, 0.25, 1.0, 0.5]
record = true

[webhooks.desk]
url = "https://desk.example/hook"
secret = "0123456789abcdef"
phases = ["ended"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "serve.toml"
    path.write_text(FILE)
    return path


def test_streams_of_flags_and_file_come_together(config: Path) -> None:
    settings = load_settings({"streams": {"door": "0", "yard": "1"}}, config)
    found = {definition.name: definition for definition in settings.stream_definitions()}
    assert {name: definition.source for name, definition in found.items()} == {
        "door": "0",
        "yard": "1",  # the flag comes first
        "court": "rtsp://192.168.0.8/main",
    }
    assert all(definition.trusted for definition in found.values())
    options = found["court"].options
    assert (options.labels, options.crop) == (("badminton",), (0.0, 0.25, 1.0, 0.5))
    assert options.record is Record.EVENTS, "true, as it was once written"
    assert options.settings.window_seconds == 1.5
    assert found["door"].options == StreamOptions()


@pytest.mark.parametrize(
    "url", ["desk.example/hook", "ftp://desk.example/hook", "https://desk.example:99999/"]
)
def test_webhooks_that_cannot_be_are_told_at_the_start(url: str) -> None:
    """A slip of the pen must not bury every message."""
    hooks = {"desk": {"url": url, "secret": "at-least-16-characters"}}
    with pytest.raises(ConfigurationError):
        load_settings({"webhooks": hooks})


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[streams.b]\nsource = "x"\n[streams.a]\nsource = "x"\nenter = 0.3\nexit = 0.5', "streams.a: "),
        ('[streams.a]\nsource = "x"\ncrop = [0.5, 0.0, 0.6, 1.0]', "streams.a: "),
        ('[webhooks.d]\nurl = "ftp://x/"\nsecret = "0123456789abcdef"', "webhooks.d.url: "),
        ('[streams.a]\nsource = "x"\nentre = 0.5', "streams.a.entre: there is no such setting"),
        ('hots = "0.0.0.0"', "hots: there is no such setting"),
        ('[[streams]]\nname = "a"\nsource = "x"', "streams: each is a table [streams.NAME] of its own"),
        ('[[webhooks]]\nurl = "https://x/"', "webhooks: each is a table [webhooks.NAME] of its own"),
        ('[tokens.desk]\ntoken = "0123456789abcdef"', "tokens: each is a table [[tokens]] with its name"),
        ('log_level = "loud"', "log_level: Input should be 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_mistake_is_told_with_its_entry(tmp_path: Path, text: str, where: str) -> None:
    """Of twenty streams one has to be found."""
    path = tmp_path / "serve.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_settings({}, path)
    assert str(refused.value).startswith(where)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Neither one that is no TOML, nor one that the system refuses to look for, is a program's fault."""
    torn = tmp_path / "serve.toml"
    torn.write_text("port = [")
    for path in (torn, tmp_path / ("a" * 300)):
        with pytest.raises(ConfigurationError, match=f"--config {path} cannot be read: "):
            load_settings({}, path)


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("allowed_hosts", "Cams.example:8000", "cams.example:8000"),
        ("allowed_hosts", "192.168.0.9", "192.168.0.9"),
        ("allowed_hosts", "[FE80::1]", "fe80::1"),
        ("allowed_hosts", "[fe80::1]:8000", "[fe80::1]:8000"),
        ("allowed_origins", "https://Cams.example:443/", "https://cams.example"),
        ("allowed_origins", "http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_hosts_and_origins_are_kept_as_browsers_write_them(name: str, given: str, kept: str) -> None:
    assert getattr(load_settings({name: (given,)}), name) == (kept,)


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("allowed_hosts", "https://cams.example", "cams.example:8000"),
        ("allowed_hosts", "cams.example/", "cams.example:8000"),
        ("allowed_hosts", "*.cams.example", "cams.example:8000"),
        ("allowed_origins", "cams.example", "https://cams.example"),
        ("allowed_origins", "https://cams.example/page", "https://cams.example"),
        ("allowed_origins", "*", "https://cams.example"),
    ],
)
def test_what_no_host_or_origin_can_be_is_told_at_the_start(name: str, text: str, right: str) -> None:
    """Otherwise every call would be refused, and nothing would say why."""
    with pytest.raises(ConfigurationError) as refused:
        load_settings({name: (text,)})
    assert str(refused.value).startswith(f"{name}.0: {text!r} is not a")
    assert right in str(refused.value)


@pytest.mark.parametrize(
    ("given", "kept"), [("/", ""), ("/video", "/video"), ("/video/", "/video"), ("/a/b-c.d~1/", "/a/b-c.d~1")]
)
def test_a_path_before_all_others_is_kept_as_asgi_has_it(given: str, kept: str) -> None:
    assert load_settings({"root_path": given}).root_path == kept


@pytest.mark.parametrize("text", ["video", "https://cams.example/video", "/a//b", "/../b", "/a b", "/a?b"])
def test_what_no_path_can_be_is_told_at_the_start(text: str) -> None:
    """Otherwise every call would be answered with 404."""
    with pytest.raises(ConfigurationError, match="is not a path; write it as /video"):
        load_settings({"root_path": text})


def test_a_token_is_for_one_only() -> None:
    """Of two entries with the same text, the scopes of the last would win unseen."""
    token = "0123456789abcdef"
    entries = [{"name": name, "token": token} for name in ("desk", "door")]
    with pytest.raises(ConfigurationError, match="tokens: 'desk' and 'door' have the same token") as refused:
        load_settings({"tokens": entries})
    assert token not in str(refused.value)


def test_for_ever_is_no_number_of_days() -> None:
    """Infinite and undefined numbers are refused, not found out hours later."""
    with pytest.raises(ConfigurationError, match="keep_events_days"):
        load_settings({"keep_events_days": float("inf")})


def test_a_camera_is_a_number_in_the_file_too(tmp_path: Path) -> None:
    """As ``--stream desk=0`` is; what can be no source is told in terms of the file."""
    path = tmp_path / "serve.toml"
    path.write_text("[streams]\ndesk = 0\n[streams.hall]\nsource = 1\nrate = 2")
    sources = [one.source for one in load_settings({}, path).stream_definitions()]
    assert sources == ["0", "1"]
    path.write_text("[streams]\ndesk = true")
    with pytest.raises(ConfigurationError, match=r"^streams\.desk\.source: Input should be a valid string$"):
        load_settings({}, path)


def test_streams_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEO_EVENTS_STREAMS", '{"door": {"source": "rtsp://h/1", "rate": 2}}')
    (definition,) = load_settings({}).stream_definitions()
    assert (definition.name, definition.options.rate) == ("door", 2)


@pytest.mark.parametrize(
    ("name", "text", "example"),
    [
        ("ALLOWED_SOURCES", "192.168.0.0/16", '["192.168.0.0/16"]'),
        ("TOKENS", "secret-of-the-house", '[{"name": "me", "token": "<a long random text>"'),
        ("STREAMS", "door=rtsp://me:secret@h/1", '{"door": "rtsp://'),
    ],
)
def test_what_is_no_json_in_the_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, example: str
) -> None:
    """By its own name, with an example, and without what was given."""
    monkeypatch.setenv(f"VIDEO_EVENTS_{name}", text)
    with pytest.raises(ConfigurationError) as refused:
        load_settings({})
    assert str(refused.value).startswith(f"VIDEO_EVENTS_{name} must be JSON, for instance {example}")
    assert "secret" not in str(refused.value)


def test_all_settings_are_documented() -> None:
    """The table in the README names exactly what there is, in its order, and the true defaults."""
    text = (Path(service.__file__).parent / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (`.+?`|none) \|", text.partition("## Settings")[2], re.MULTILINE)
    assert rows == [(name, shown(field.default)) for name, field in ServeSettings.model_fields.items()]


def shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{[] if default == () else default}`"


def test_secrets_do_not_show(config: Path) -> None:
    settings = load_settings({}, config)
    assert "secret" not in repr(settings).replace("secret=SecretStr", "")
    (webhook,) = settings.webhook_list()
    assert webhook.secret == "0123456789abcdef"
    assert "0123456789abcdef" not in repr(settings) + repr(webhook)


@pytest.mark.parametrize(
    "text",
    [
        '[streams]\n"clip_1" = "0"',
        '[streams]\n"a b" = "0"',
        "[streams.a]\nrate = 1",
        '[streams.a]\nsource = "0"\nenter = 0.2\nexit = 0.4',
        '[streams.a]\nsource = "0"\ncrop = [0.5, 0.0, 0.6, 1.0]',
        '[streams.a]\nsource = "0"\nwindows = 3',
        'allowed_sources = ["http://host/"]',
        '[webhooks.a]\nurl = "http://h/"\nsecret = "short"',
    ],
)
def test_mistakes_are_told_at_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        load_settings({}, path)
