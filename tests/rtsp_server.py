"""A real RTSP server for tests: H.264 by GStreamer, run by the system's Python, which has the bindings.

    /usr/bin/python3 rtsp_server.py --width 320 --height 180 --fps 12 --user me --password secret

It prints its port. Each line on its standard input is the path of a file of raw frames (BGR, one after the
other), which are shown in a loop until the next line comes. It ends with its input, so that it never
outlives a test.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENCODER = "openh264enc"


def main() -> None:
    parser = argparse.ArgumentParser(description="An RTSP server for tests.")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--path", default="/live")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=180)
    parser.add_argument("--fps", type=int, default=12)
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--check", action="store_true", help="only say what is missing here, if anything is")
    options = parser.parse_args()
    try:
        modules = _bindings()
    except (ImportError, ValueError) as error:
        raise SystemExit(f"no RTSP server here: {error}") from None
    if not options.check:
        _serve(options, *modules)


def _bindings() -> tuple[Any, Any, Any]:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    for element in ("appsrc", "videoconvert", ENCODER, "rtph264pay"):
        if not Gst.ElementFactory.find(element):
            raise ValueError(f"GStreamer has no {element}")
    return GLib, Gst, GstRtspServer


class Frames:
    """The frames to show, one per call, whether or not anybody looks."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._data = bytes(size)
        self._offset = 0

    def show(self, path: str) -> None:
        data = Path(path).read_bytes()
        assert data, f"{path} is empty"
        assert len(data) % self._size == 0, f"{path} does not hold frames of {self._size} bytes"
        self._data, self._offset = data, 0

    def next(self) -> bytes:
        data, offset = self._data, self._offset % len(self._data)
        self._offset = offset + self._size
        return data[offset : offset + self._size]


def _serve(options: argparse.Namespace, glib: Any, gst: Any, rtsp: Any) -> None:
    frames = Frames(options.width * options.height * 3)
    sources: list[Any] = []
    factory = rtsp.RTSPMediaFactory()
    factory.set_shared(True)  # one encoder for all who look
    factory.set_launch(
        "( appsrc name=frames is-live=true do-timestamp=true format=time "
        f"caps=video/x-raw,format=BGR,width={options.width},height={options.height},"
        f"framerate={options.fps}/1 ! videoconvert ! video/x-raw,format=I420 ! "
        f"{ENCODER} complexity=low rate-control=bitrate bitrate=600000 gop-size={options.fps} "
        "multi-thread=1 ! rtph264pay name=pay0 pt=96 config-interval=1 )"
    )

    def configured(_factory: Any, media: Any) -> None:
        source = media.get_element().get_by_name("frames")
        sources.append(source)
        media.connect("unprepared", lambda _media: sources.remove(source))

    factory.connect("media-configure", configured)
    server = rtsp.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    server.get_mount_points().add_factory(options.path, factory)
    if options.user:
        _protect(server, factory, rtsp, options.user, options.password)
    if not server.attach(None):
        raise SystemExit(f"cannot listen on port {options.port}")

    def tick() -> bool:
        image = frames.next()
        for source in list(sources):
            source.emit("push-buffer", gst.Buffer.new_wrapped(image))
        return True

    glib.timeout_add(round(1000 / options.fps), tick)
    print(server.get_bound_port(), flush=True)
    threading.Thread(target=_obey, args=(frames.show,), daemon=True).start()
    glib.MainLoop().run()


def _protect(server: Any, factory: Any, rtsp: Any, user: str, password: str) -> None:
    token, permissions, auth = rtsp.RTSPToken(), rtsp.RTSPPermissions(), rtsp.RTSPAuth()
    token.set_string("media.factory.role", "viewer")
    for permission in ("access", "construct"):
        permissions.add_permission_for_role("viewer", f"media.factory.{permission}", True)
    factory.set_permissions(permissions)
    auth.add_basic(rtsp.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)


def _obey(show: Callable[[str], None]) -> None:
    try:
        for line in sys.stdin:
            show(line.rstrip("\n"))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
