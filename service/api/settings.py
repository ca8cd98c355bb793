"""The settings of ``serve``: flags, then the environment (``VIDEO_EVENTS_*``), then a TOML file."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from service.addresses import DEFAULT_PORTS, WEBHOOK_SCHEMES, AddressPolicy, check_form
from service.api.stream_schemas import StreamOptionsIn
from service.clips.records import ClipLimits
from service.config import HardwareDecode
from service.engines import Engine
from service.errors import AddressRefusedError, ConfigurationError
from service.inference.queueing import BatchSettings
from service.learning.places import user_folder
from service.logs import LogFormat
from service.streams.admission import AdmissionSettings
from service.streams.manager import StreamLimits
from service.streams.records import StreamDefinition
from service.types import EventPhase
from service.webhooks.records import Webhook

GIGABYTE = 1 << 30
SHORTEST_TOKEN = 16
EXAMPLES: Final = {
    "tokens": '[{"name": "me", "token": "<a long random text>", "scopes": ["manage"]}]',
    "allowed_hosts": '["cams.example"]',
    "allowed_origins": '["https://cams.example"]',
    "streams": '{"door": "rtsp://192.168.0.9/main"}',
    "webhooks": '{"desk": {"url": "https://desk.example/hook", "secret": "<a long random text>"}}',
}
"""What to write into the environment; the other lists are of addresses."""
ADDRESSES: Final = '["192.168.0.0/16"]'
_NAMED: Final = r"([a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"
_HOST: Final = re.compile(rf"{_NAMED}|[0-9a-f]*(:[0-9a-f.]*){{2,}}")
_ORIGIN: Final = re.compile(rf"[a-z][a-z0-9+.-]*://{_NAMED}")
_ROOT_PATH: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


@contextmanager
def _as_value_errors() -> Iterator[None]:
    """What pydantic takes for a mistake, which it tells with the name of the entry."""
    try:
        yield
    except (ConfigurationError, AddressRefusedError) as error:
        raise ValueError(str(error)) from None


def _host(text: str) -> str:
    """As browsers write it into ``Host``; an IPv6 address alone without its brackets."""
    host = text.lower()
    if not _HOST.fullmatch(host):
        raise ValueError(f"{text!r} is not a host; write it as cams.example or cams.example:8000")
    return host.strip("[]") if host.endswith("]") else host


def _origin(text: str) -> str:
    """As browsers write it into ``Origin``."""
    origin = text.lower().removesuffix("/")
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(f"{text!r} is not an origin; write it as https://cams.example, without a path")
    return origin.removesuffix(f":{DEFAULT_PORTS.get(origin.partition(':')[0])}")


def _root_path(text: str) -> str:
    """As ASGI has it: without a slash at its end."""
    path = text.rstrip("/")
    if not _ROOT_PATH.fullmatch(path):
        raise ValueError(f"{text!r} is not a path; write it as /video")
    return path


class Scope(StrEnum):
    """``view`` sees, ``upload`` adds and removes clips, ``manage`` does everything."""

    VIEW = "view"
    UPLOAD = "upload"
    MANAGE = "manage"


class Token(BaseModel):
    """A bearer token and what it opens; ``name`` is for the log."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str
    token: SecretStr
    scopes: frozenset[Scope] = frozenset({Scope.VIEW})

    @field_validator("token")
    @classmethod
    def _long_enough(cls, token: SecretStr) -> SecretStr:
        text = token.get_secret_value()
        if len(text) < SHORTEST_TOKEN or not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError(f"a token has at least {SHORTEST_TOKEN} printable ASCII characters, no spaces")
        return token


class StreamEntry(StreamOptionsIn):
    """A stream of the operator's: its source, which may be a file or a device number, and its options."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    source: SecretStr

    @model_validator(mode="before")
    @classmethod
    def _from_source(cls, entry: Any) -> Any:
        return {"source": entry} if isinstance(entry, (str, int)) else entry

    @field_validator("source", mode="before")
    @classmethod
    def _number_of_a_camera(cls, source: Any) -> Any:
        return str(source) if type(source) is int else source

    @model_validator(mode="after")
    def _options_that_go_together(self) -> Self:
        with _as_value_errors():
            self.definition("any")
        return self

    def definition(self, name: str) -> StreamDefinition:
        options = StreamOptionsIn.model_validate(self.model_dump(exclude={"source"})).options()
        return StreamDefinition(
            name=name, source=self.source.get_secret_value(), options=options, trusted=True
        )


class WebhookEntry(BaseModel):
    """Where to post the messages of events; left out, ``streams`` and ``labels`` mean all."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: SecretStr
    secret: SecretStr
    streams: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    phases: tuple[EventPhase, ...] = (EventPhase.STARTED, EventPhase.ENDED)

    @field_validator("url")
    @classmethod
    def _can_be_called(cls, url: SecretStr) -> SecretStr:
        with _as_value_errors():
            check_form(url.get_secret_value(), WEBHOOK_SCHEMES)
        return url

    def webhook(self, name: str) -> Webhook:
        return Webhook(
            name=name,
            url=self.url.get_secret_value(),
            secret=self.secret.get_secret_value(),
            streams=self.streams,
            labels=self.labels,
            phases=self.phases,
        )


class ServeSettings(BaseSettings):
    """Sizes in bytes, times in the unit of their names."""

    model_config = SettingsConfigDict(
        env_prefix="VIDEO_EVENTS_",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    root_path: Annotated[str, AfterValidator(_root_path)] = "/"
    data: Path = Path("video-events-data")
    learned: Path | None = None
    model: str = "sports"
    engine: Engine = Engine.AUTO
    tokens: tuple[Token, ...] = ()
    allowed_hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = ()
    allowed_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    streams: dict[str, StreamEntry] = {}
    allowed_sources: tuple[str, ...] = ()
    denied_sources: tuple[str, ...] = ()
    webhooks: dict[str, WebhookEntry] = {}
    allowed_webhooks: tuple[str, ...] = ()
    hardware_decode: HardwareDecode = HardwareDecode.AUTO
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: LogFormat = LogFormat.TEXT

    max_connections: int = Field(512, ge=1)
    max_subscribers: int = Field(256, ge=1)
    max_viewers: int = Field(64, ge=1)
    max_streams: int = Field(64, ge=1, le=1000)
    batch_size: int = Field(8, ge=1, le=256)
    batch_wait_seconds: float = Field(0.01, ge=0, le=1)
    standby: bool | None = None
    headroom: float = Field(AdmissionSettings().headroom, ge=0, lt=1)
    least_rate: float = Field(AdmissionSettings().least, gt=0, le=1000)
    head_seconds: float = Field(10.0, gt=0)
    upload_idle_seconds: float = Field(30.0, gt=0)

    max_example_bytes: int = Field(8 << 20, gt=0)
    max_upload_bytes: int = Field(4 * GIGABYTE, gt=0)
    max_pixels: int = Field(ClipLimits().pixels, gt=0)
    max_video_seconds: float = Field(ClipLimits().video_seconds, gt=0)
    clip_quota_bytes: int = Field(20 * GIGABYTE, gt=0)
    clip_free_bytes: int = Field(GIGABYTE, ge=0)
    clip_memory_bytes: int = Field(3 * GIGABYTE, gt=0)
    clip_stall_seconds: float = Field(180.0, gt=0)
    clip_run_seconds: float = Field(12 * 3600.0, gt=0)
    clips_parallel: int = Field(1, ge=1, le=64)
    clips_waiting: int = Field(16, ge=1)
    keep_clips_days: float = Field(7.0, gt=0)
    keep_events_days: float = Field(90.0, gt=0)
    keep_recordings_days: float = Field(30.0, gt=0)
    recording_quota_bytes: int = Field(20 * GIGABYTE, gt=0)

    @field_validator("streams", "webhooks", "tokens", mode="before")
    @classmethod
    def _in_tables(cls, entries: Any, info: ValidationInfo) -> Any:
        """The one kind of table is easily written for the other."""
        name = info.field_name
        if name == "tokens" and isinstance(entries, dict):
            raise ValueError(f"each is a table [[{name}]] with its name in it, not [{name}.NAME]")
        if name != "tokens" and isinstance(entries, list):
            raise ValueError(f"each is a table [{name}.NAME] of its own, not [[{name}]]")
        return entries

    @field_validator("tokens")
    @classmethod
    def _each_for_one(cls, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        for one, other in combinations(tokens, 2):
            if one.token == other.token:
                raise ValueError(f"{one.name!r} and {other.name!r} have the same token; each needs its own")
        return tokens

    @model_validator(mode="after")
    def _never_open_to_all(self) -> ServeSettings:
        if not self.tokens and not is_loopback(self.host):
            raise ValueError(
                f"listening on {self.host} needs at least one token: set VIDEO_EVENTS_TOKENS to "
                f"{EXAMPLES['tokens']}, or use --host 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _streams_and_webhooks_that_can_be(self) -> ServeSettings:
        with _as_value_errors():
            self.stream_definitions()
            self.stream_limits()
            self.webhook_list()
            self.webhook_policy()
        return self

    def stream_definitions(self) -> tuple[StreamDefinition, ...]:
        definitions = tuple(entry.definition(name) for name, entry in self.streams.items())
        for definition in definitions:
            definition.check()
        return definitions

    def stream_limits(self) -> StreamLimits:
        return StreamLimits(
            streams=self.max_streams,
            policy=AddressPolicy(self.allowed_sources, self.denied_sources),
            keep_seconds=self.keep_recordings_days * 86400,
            recording_bytes=self.recording_quota_bytes,
            free_bytes=self.clip_free_bytes,
            admission=AdmissionSettings(headroom=self.headroom, least=self.least_rate),
        )

    def webhook_policy(self) -> AddressPolicy:
        """What the operator has named is allowed, but no name stands for this machine unless that is too."""
        named = (urlsplit(entry.url.get_secret_value()).hostname for entry in self.webhooks.values())
        allowed = (*self.allowed_webhooks, *(host for host in named if host))
        return AddressPolicy(allowed, remedy="the operator can allow it: setting allowed_webhooks")

    def webhook_list(self) -> tuple[Webhook, ...]:
        return tuple(entry.webhook(name) for name, entry in self.webhooks.items())

    @property
    def learned_folder(self) -> Path:
        return self.learned or user_folder()

    @property
    def batching(self) -> BatchSettings:
        return BatchSettings(max_batch=self.batch_size, max_wait=self.batch_wait_seconds)

    @property
    def clip_limits(self) -> ClipLimits:
        return ClipLimits(
            upload_bytes=self.max_upload_bytes,
            quota_bytes=self.clip_quota_bytes,
            free_bytes=self.clip_free_bytes,
            pixels=self.max_pixels,
            video_seconds=self.max_video_seconds,
            memory=self.clip_memory_bytes,
            stall_seconds=self.clip_stall_seconds,
            run_seconds=self.clip_run_seconds,
            parallel=self.clips_parallel,
            waiting=self.clips_waiting,
            keep_seconds=self.keep_clips_days * 86400,
        )


class _Environment(EnvSettingsSource):
    """Says what is wrong with a value that is not JSON, without repeating it: there may be a secret in it."""

    def prepare_field_value(
        self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool
    ) -> Any:
        try:
            return super().prepare_field_value(field_name, field, value, value_is_complex)
        except ValueError:
            example = EXAMPLES.get(field_name, ADDRESSES)
            raise ConfigurationError(
                f"{self.env_prefix}{field_name.upper()} must be JSON, for instance {example}"
            ) from None


def load_settings(flags: Mapping[str, Any], config: Path | None = None) -> ServeSettings:
    """Put the settings together; flags that are ``None`` were not given.

    Raises ``ConfigurationError`` with one line on the first mistake, without any secret in it.
    """

    class Settings(ServeSettings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            environment = _Environment(settings_cls)
            if config is None:
                return init_settings, environment
            return init_settings, environment, TomlConfigSettingsSource(settings_cls, config)

    try:
        if config is not None and not config.is_file():
            raise ConfigurationError(f"--config {config}: there is no such file")
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "there is no such setting"
        raise ConfigurationError(f"{where}: {message}" if where else message) from None
    except (SettingsError, OSError, ValueError) as error:
        what = "the settings" if config is None else f"--config {config}"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(f"{what} cannot be read: {reason}") from None


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
