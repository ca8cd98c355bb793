"""The settings of ``serve``: flags, then the environment (``VIDEO_EVENTS_*``), then a TOML file."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from service.clips.records import ClipLimits
from service.engines import Engine
from service.errors import ConfigurationError

GIGABYTE = 1 << 30
SHORTEST_TOKEN = 16


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


class ServeSettings(BaseSettings):
    """Sizes in bytes, times in the unit of their names."""

    model_config = SettingsConfigDict(
        env_prefix="VIDEO_EVENTS_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    data: Path = Path("video-events-data")
    model: str = "sports"
    engine: Engine = Engine.AUTO
    tokens: tuple[Token, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")

    max_connections: int = Field(512, ge=1)
    max_subscribers: int = Field(256, ge=1)
    upload_idle_seconds: float = Field(30.0, gt=0)

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

    @model_validator(mode="after")
    def _never_open_to_all(self) -> ServeSettings:
        if not self.tokens and not is_loopback(self.host):
            raise ValueError(
                f"listening on {self.host} needs at least one token: set VIDEO_EVENTS_TOKENS to "
                '[{"name": "me", "token": "<a long random text>", "scopes": ["manage"]}], '
                "or use --host 127.0.0.1"
            )
        return self

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
            if config is None:
                return init_settings, env_settings
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config)

    if config is not None and not config.is_file():
        raise ConfigurationError(f"--config {config}: there is no such file")
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigurationError(f"{where}: {message}" if where else message) from None
    except (SettingsError, OSError, ValueError) as error:
        raise ConfigurationError(f"the settings cannot be read: {error}") from None


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
