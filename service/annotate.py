"""Draws what the service thinks onto a frame: label, confidence bar, event state.

Everything is sized from the short side of the frame, so that 240p, 4K and portrait video look alike.
The panel keeps its size from frame to frame (nothing jumps when the label changes) and only its own
pixels are touched. Frames too small for letters get the confidence bar alone.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

import cv2

from service.types import Event, Image, SmoothedPrediction

Colour = tuple[int, int, int]

WHITE: Final[Colour] = (255, 255, 255)
GREY: Final[Colour] = (210, 210, 210)
TRACK: Final[Colour] = (96, 96, 96)
ACTIVE: Final[Colour] = (110, 215, 80)
"""Green: an event is going on."""
IDLE: Final[Colour] = (70, 190, 250)
"""Amber: a label, but no event."""

MIN_LETTERS: Final = 10
"""Below this many pixels letters cannot be read."""


class Pen(Protocol):
    """Writes one line of text; sizes in pixels, ``baseline`` is where the letters stand."""

    def width(self, text: str, size: int, bold: bool) -> int: ...

    def write(
        self, image: Image, text: str, left: int, baseline: int, size: int, bold: bool, colour: Colour
    ) -> None: ...


class TrueTypePen:
    """The variable sans-serif font that OpenCV 5 carries: any script of Latin, Greek and Cyrillic."""

    def __init__(self) -> None:
        self._face = cv2.FontFace("sans")

    def width(self, text: str, size: int, bold: bool) -> int:
        x, _, width, _ = cv2.getTextSize((1 << 15, 1 << 10), text, (0, 0), self._face, size, _weight(bold))
        return int(x + width)

    def write(
        self, image: Image, text: str, left: int, baseline: int, size: int, bold: bool, colour: Colour
    ) -> None:
        cv2.putText(image, text, (left, baseline), colour, self._face, size, _weight(bold))


class HersheyPen:
    """The stroke font of OpenCV 4: ASCII only, so accents are taken off."""

    def width(self, text: str, size: int, bold: bool) -> int:
        (width, _), _ = cv2.getTextSize(
            _ascii(text), cv2.FONT_HERSHEY_SIMPLEX, size / 30, _stroke(size, bold)
        )
        return width

    def write(
        self, image: Image, text: str, left: int, baseline: int, size: int, bold: bool, colour: Colour
    ) -> None:
        font = cv2.FONT_HERSHEY_SIMPLEX
        stroke = _stroke(size, bold)
        cv2.putText(image, _ascii(text), (left, baseline), font, size / 30, colour, stroke, cv2.LINE_AA)


def _weight(bold: bool) -> int:
    return 700 if bold else 500


def _stroke(size: int, bold: bool) -> int:
    return max(1, round(size / (11 if bold else 16)))


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.replace("…", "..")).encode("ascii", "ignore")
    return plain.decode("ascii")


def default_pen() -> Pen:
    return TrueTypePen() if hasattr(cv2, "FontFace") else HersheyPen()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand in a frame of one size, in pixels; ``letters`` 0 means the bar alone."""

    left: int
    top: int
    width: int
    height: int
    letters: int
    small: int
    pad: int
    bar: int
    state_line: bool


@lru_cache(maxsize=16)
def layout(width: int, height: int) -> Layout:
    """Place the panel in a ``width`` × ``height`` frame, dropping what does not fit."""
    short = min(width, height)
    letters = max(MIN_LETTERS + 2, round(short * 0.042))
    pad = max(2, letters // 2)
    bar = max(2, letters // 4)
    small = max(MIN_LETTERS, round(letters * 0.8))
    margin = max(2, short // 50)
    panel_width = min(width - 2 * margin, letters * 15)
    one_line = pad + letters + pad // 2 + bar + pad
    two_lines = one_line + pad // 2 + small
    if panel_width >= letters * 4:
        for panel_height, state_line in ((two_lines, True), (one_line, False)):
            if panel_height + margin <= height * 0.4:
                return Layout(margin, margin, panel_width, panel_height, letters, small, pad, bar, state_line)
    thickness = max(1, short // 12)
    return Layout(0, height - thickness, width, thickness, 0, 0, 0, thickness, False)


class Annotator:
    """Draws one panel per frame, in place; one instance per stream and thread.

    Takes well under a millisecond at 720p. ``image`` is H×W×3 ``uint8`` (BGR), of any size from 1×1
    on, and must be writable and contiguous in its pixels.
    """

    def __init__(self, pen: Pen | None = None) -> None:
        self._pen = pen or default_pen()
        self._clipped: dict[tuple[str, int, int, bool], str] = {}

    def draw(
        self,
        image: Image,
        smoothed: SmoothedPrediction | None,
        event: Event | None,
        state: str | None = None,
    ) -> None:
        """Draw ``smoothed`` and ``event`` (``None``: no event); ``state`` is a stream state to show instead.

        ``smoothed`` is ``None`` while nothing has been classified yet.
        """
        height, width = image.shape[:2]
        place = layout(width, height)
        label = smoothed.label if smoothed else ""
        confidence = min(1.0, max(0.0, smoothed.confidence)) if smoothed else 0.0
        colour = ACTIVE if event else IDLE
        panel = image[place.top : place.top + place.height, place.left : place.left + place.width]
        if not place.letters:
            _bar(panel, confidence, colour)
            return
        cv2.convertScaleAbs(panel, dst=panel, alpha=0.22, beta=6)
        inner = place.width - 2 * place.pad
        baseline = place.pad + round(place.letters * 0.86)
        percent = f"{confidence:.0%}" if smoothed else ""
        percent_width = self._pen.width("100%", place.letters, True)
        if percent_width < inner // 2:
            left = place.width - place.pad - self._pen.width(percent, place.letters, True)
            self._pen.write(panel, percent, left, baseline, place.letters, True, WHITE)
        else:
            percent_width = 0
        text = self._fit(_readable(label), inner - percent_width - place.pad // 2, place.letters, True)
        self._pen.write(panel, text, place.pad, baseline, place.letters, True, WHITE)
        top = place.pad + place.letters + place.pad // 2
        _bar(panel[top : top + place.bar, place.pad : place.width - place.pad], confidence, colour)
        if place.state_line:
            self._state_line(panel, place, top + place.bar + place.pad // 2, event, state)

    def _state_line(
        self, panel: Image, place: Layout, top: int, event: Event | None, state: str | None
    ) -> None:
        radius = max(2, place.small // 4)
        centre = (place.pad + radius, top + place.small // 2 + 1)
        shade = ACTIVE if event else GREY
        cv2.circle(panel, centre, radius, shade, -1 if event else 1, cv2.LINE_AA)
        left = place.pad + 3 * radius
        room = place.width - place.pad - left
        if event is None or state is not None:
            text = self._fit(state or "no event", room, place.small, False)
        else:
            since = f" since {clock(event.start_pts)}"
            room -= self._pen.width(since, place.small, False)
            text = self._fit(f"EVENT {_readable(event.label)}", room, place.small, False) + since
        self._pen.write(panel, text, left, top + round(place.small * 0.86), place.small, False, shade)

    def _fit(self, text: str, room: int, size: int, bold: bool) -> str:
        """Shorten ``text`` with an ellipsis until it is at most ``room`` pixels wide."""
        key = (text, room, size, bold)
        found = self._clipped.get(key)
        if found is None:
            found, kept = text, len(text)
            while kept and self._pen.width(found, size, bold) > room:
                kept -= 1
                found = text[:kept].rstrip() + "…" if kept else ""
            if len(self._clipped) > 1000:
                self._clipped.clear()
            self._clipped[key] = found
        return found


def _bar(area: Image, confidence: float, colour: Colour) -> None:
    filled = round(area.shape[1] * confidence)
    area[:, :filled] = colour
    area[:, filled:] = TRACK


def _readable(label: str) -> str:
    return label.replace("_", " ")


def clock(seconds: float) -> str:
    """Media time as ``mm:ss``, or ``h:mm:ss`` from one hour on.

    >>> clock(3.9), clock(3725)
    ('00:03', '1:02:05')
    """
    minutes, second = divmod(int(max(0.0, seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"
