"""A reverse proxy as operators put one before the service: it serves it below a path, which it takes away."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


@contextmanager
def below(path: str, url: str) -> Iterator[str]:
    """Serve what answers at ``url`` below ``path``, and yield its new address. One request a connection."""
    target = urlsplit(url)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (part := self.request.recv(65536)):
                    return
                head += part
            line, _, rest = head.partition(b"\r\n")
            method, _, asked = line.partition(b" ")
            if not asked.startswith(f"{path}/".encode()):
                self.request.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")
                return
            rest = rest.replace(b"Connection: keep-alive", b"Connection: close", 1)
            with socket.create_connection((target.hostname, target.port)) as service:
                service.sendall(method + b" " + asked.removeprefix(path.encode()) + b"\r\n" + rest)
                back = threading.Thread(target=_pass_on, args=(service, self.request))
                back.start()
                _pass_on(self.request, service)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}{path}"
        server.shutdown()


def _pass_on(sender: socket.socket, receiver: socket.socket) -> None:
    with suppress(OSError):
        while part := sender.recv(65536):
            receiver.sendall(part)
    with suppress(OSError):
        receiver.shutdown(socket.SHUT_RDWR)
