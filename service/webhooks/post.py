"""One POST to a pinned address: over in bounded time, led nowhere, and another thread can break it off."""

from __future__ import annotations

import base64
import email.utils
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from service.addresses import Pinned

MOST_READ: Final = 4096
"""Bytes of an answer's body that are read; nobody looks at them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of a response, and the seconds after which it asks to be called again."""

    status: int
    retry_after: float | None


class Post:
    """A request that is made once; ``abort`` ends it from another thread.

    ``run`` raises OSError (``TimeoutError`` after ``total_timeout`` seconds) or http.client.HTTPException.
    Redirects are answers like any other, proxies of the environment are not used, and a certificate must
    be made out to the name that was asked for.
    """

    def __init__(self, connect_timeout: float, total_timeout: float) -> None:
        self._connect_timeout = connect_timeout
        self._total_timeout = total_timeout
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._aborted = False

    def run(
        self, target: Pinned, body: bytes, headers: Mapping[str, str], tls: ssl.SSLContext | None
    ) -> Answer:
        """Send ``body`` and return what was answered; without ``tls`` the system's certificates count."""
        # A socket's own timeout starts again with every byte that arrives.
        watch = threading.Timer(self._total_timeout, self.abort)
        watch.daemon = True
        watch.start()
        try:
            connection = http.client.HTTPConnection(target.ip, target.port)
            with closing(connection):
                try:
                    connection.sock = self._connect(target, tls)
                    connection.request("POST", _path(target), body, _headers(target) | dict(headers))
                    with connection.getresponse() as response:
                        with suppress(OSError, http.client.HTTPException):
                            response.read(MOST_READ)
                        return Answer(response.status, _seconds(response.headers.get("Retry-After")))
                finally:
                    with self._lock:
                        self._socket = None
        except (OSError, http.client.HTTPException) as error:
            if self._aborted:
                raise TimeoutError(f"no answer within {self._total_timeout:g} s") from error
            raise
        finally:
            watch.cancel()

    def abort(self) -> None:
        """End the request, whatever it is at. May be called at any time."""
        with self._lock:
            self._aborted = True
            if self._socket is not None:
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _connect(self, target: Pinned, tls: ssl.SSLContext | None) -> socket.socket:
        connected = socket.create_connection((target.ip, target.port), self._connect_timeout)
        try:
            # The watch ends the request first, with its own words; this stands in should that not help.
            connected.settimeout(2 * self._total_timeout)
            if target.server_name is None:
                self._hold(connected)
                return connected
            context = tls or ssl.create_default_context()
            secured = context.wrap_socket(
                connected, server_hostname=target.server_name, do_handshake_on_connect=False
            )
            connected = secured
            self._hold(secured)
            secured.do_handshake()
            return secured
        except BaseException:
            connected.close()
            raise

    def _hold(self, connected: socket.socket) -> None:
        with self._lock:
            if self._aborted:
                raise TimeoutError("broken off")
            self._socket = connected


def _path(target: Pinned) -> str:
    url = urlsplit(target.url)
    return url.path + (f"?{url.query}" if url.query else "")


def _headers(target: Pinned) -> dict[str, str]:
    headers = {"Host": target.host, "Connection": "close", "Accept-Encoding": "identity"}
    user, at, _ = urlsplit(target.url).netloc.rpartition("@")
    if at:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote_to_bytes(user)).decode()}"
    return headers


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After is a number of seconds or a date (RFC 9110 §10.2.3)."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return None
