"""Who may do what: bearer tokens with scopes, and whence a browser may call.

Without any token the service listens on loopback only (``settings``); then the Host header must name the
loopback, so that no foreign page reaches it by DNS rebinding. In both cases a request that carries an
Origin must come from the service's own page or an allowed one.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from service.api.settings import Scope, ServeSettings, is_loopback

_IMPLIED: Final[Mapping[Scope, frozenset[Scope]]] = {
    Scope.VIEW: frozenset({Scope.VIEW}),
    Scope.UPLOAD: frozenset({Scope.UPLOAD, Scope.VIEW}),
    Scope.MANAGE: frozenset(Scope),
}


class Gatekeeper:
    """Decides on a connection by its headers alone."""

    def __init__(self, settings: ServeSettings) -> None:
        self._tokens = [
            (entry.token.get_secret_value().encode(), frozenset().union(*(_IMPLIED[s] for s in entry.scopes)))
            for entry in settings.tokens
        ]
        self._hosts = frozenset(settings.allowed_hosts)
        self.origins = settings.allowed_origins
        """Of foreign pages that may call."""

    @property
    def is_open(self) -> bool:
        """Whether no token is asked for."""
        return not self._tokens

    def scopes(self, token: str | None) -> frozenset[Scope] | None:
        """What a token opens, or ``None`` for one that is unknown. Takes as long for any wrong one."""
        if self.is_open:
            return frozenset(Scope)
        found: frozenset[Scope] | None = None
        given = (token or "").encode()
        for known, scopes in self._tokens:
            if hmac.compare_digest(known, given):
                found = scopes
        return found

    def invites(self, headers: Headers) -> bool:
        """Whether a foreign page calls that may."""
        return headers.get("origin", "") in self.origins

    def refusal(self, headers: Headers) -> str | None:
        """What is wrong with Host or Origin, or ``None`` where they are such as the service expects."""
        host, origin = (headers.get(name, "").lower() for name in ("host", "origin"))
        try:
            name, origin_host = urlsplit(f"//{host}").hostname or "", urlsplit(origin).netloc
        except ValueError:  # brackets that enclose no address
            return "Host or Origin is none"
        if self._hosts:
            is_served = name in self._hosts or host in self._hosts
        else:
            is_served = not self.is_open or is_loopback(name)
        if not is_served:
            return f"the host {host!r} is not among the allowed_hosts of this service"
        if not origin or origin in self.origins or origin_host == host:
            return None
        return (
            f"pages of {origin!r} may not call {host!r}: they are not among the allowed_origins of this "
            "service, or a proxy before it does not pass on Host"
        )


def token_of(connection: HTTPConnection) -> str | None:
    """The token in the header, or in ``?token=`` for what a browser cannot give headers to."""
    kind, _, value = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    return connection.query_params.get("token")


def scopes_of(connection: HTTPConnection) -> frozenset[Scope] | None:
    """What a connection may do, or ``None`` without a valid token."""
    gatekeeper: Gatekeeper = connection.app.state.gatekeeper
    return gatekeeper.scopes(token_of(connection))


def check(connection: HTTPConnection, wanted: Scope) -> None:
    """Raise the ``HTTPException`` for a connection that may not do what ``wanted`` names."""
    scopes = scopes_of(connection)
    if scopes is None:
        raise HTTPException(
            HTTPStatus.UNAUTHORIZED,
            "a valid token is needed: Authorization: Bearer TOKEN, or ?token=TOKEN",
            {"WWW-Authenticate": 'Bearer realm="video-events"'},
        )
    if wanted not in scopes:
        raise HTTPException(HTTPStatus.FORBIDDEN, f"this token does not have the scope {wanted.value!r}")


class _Bearer(SecurityBase):
    """Tells the readers of the API's description of the token, which it is for ``check`` to look at."""

    model = HTTPBearer(description="Where the service has tokens; `?token=` does as well.")
    scheme_name = "bearer"

    async def __call__(self) -> None:
        pass


def requires(wanted: Scope) -> Callable[..., Coroutine[None, None, None]]:
    """A dependency that lets only connections with the scope ``wanted`` pass."""

    async def dependency(connection: HTTPConnection, _: Annotated[None, Depends(_Bearer())]) -> None:
        check(connection, wanted)

    return dependency
