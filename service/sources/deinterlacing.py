"""Makes whole pictures of interlaced ones, whose two fields were taken one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import av
import av.filter

_FILTER: Final = "bwdif", "mode=send_frame:deint=interlaced"
"""FFmpeg's, after the BBC's filter over three fields (Weston, 1988): a picture for each, one later."""


def deinterlaced(pictures: Iterable[Any]) -> Iterator[Any]:
    """The decoded ``pictures`` (``av.VideoFrame``) of a stream; those marked as interlaced are made whole.

    Their number, times and sizes stay. The size may change on the way.
    """
    graph, made_for = None, None
    for picture in pictures:
        if graph is None and not picture.interlaced_frame:
            yield picture
            continue
        kind = (picture.width, picture.height, picture.format.name)
        if graph is None or kind != made_for:
            if graph is not None:
                yield from _rest(graph)
            graph, made_for = _graph(picture), kind
        graph.push(picture)
        yield from _ready(graph)
    if graph is not None:
        yield from _rest(graph)


def _graph(picture: Any) -> Any:
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
    )
    graph.link_nodes(source, graph.add(*_FILTER), graph.add("buffersink")).configure()
    return graph


def _ready(graph: Any) -> Iterator[Any]:
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _rest(graph: Any) -> Iterator[Any]:
    graph.push(None)
    yield from _ready(graph)
