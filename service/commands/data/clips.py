"""``data frames`` and ``data timestamps``: from clips and stretches of time to labelled frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.data.options import Output, Outside, Overwrite, show_counts
from service.commands.statuses import PARTLY_DECODED

if TYPE_CHECKING:
    from models.data.frames import Clip, ClipFrame
    from models.data.timestamps import Span
    from service.sources import Source

app = typer.Typer()


@app.command()
def frames(
    clips: Annotated[list[str], typer.Argument(metavar="CLIP...", help="Video files or addresses.")],
    output: Output,
    every: Annotated[int, typer.Option(metavar="N", help="Every Nth frame only.")] = 1,
    fps: Annotated[
        float | None, typer.Option(metavar="F", help="So many frames a second, instead of --every.")
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TXT",
            help="Timestamps of a clip; repeat it in the order of the clips, or give a folder "
            "with <clip>.txt in it.",
        ),
    ] = None,
    outside: Outside = "background",
    split: Annotated[str, typer.Option(help="What labels.csv says in the column split.")] = "",
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the JPEG files.")] = 95,
    overwrite: Overwrite = False,
) -> None:
    """Write the frames of clips as DIR/<video>/<video>_<index>.jpg, with labels as DIR/labels.csv.

    A file of timestamps has lines like '01:20:05 - 01:20:34 label'. The index is that of the frame in
    its clip. Labels of other videos that DIR has stay. Exit status 3: a clip could be decoded only in part.
    """
    from models.data import frames as tool
    from models.data.listing import Entry
    from models.data.timestamps import read_timestamps
    from service.outputs import output_stem
    from service.progress import progress_bar

    stems = [output_stem(clip) for clip in clips]
    doubled = sorted({stem for stem in stems if stems.count(stem) > 1})
    if doubled:
        raise typer.BadParameter(f"two clips are called {doubled[0]}; rename one")
    files = _timestamp_files(stems, labels or [])
    spans = [read_timestamps(file) if file else None for file in files]
    for stem, file in zip(stems, files, strict=True):
        if labels and file is None:
            typer.echo(f"video-events: {labels[0]} has no {stem}.txt, so {stem} gets no labels", err=True)
    endings: list[str] = []
    unused: list[str] = []
    with progress_bar("frames") as advance:
        rows = tool.extract_frames(
            _open_clips(clips, stems, spans, endings),
            output,
            tool.Choice(every, fps),
            outside=outside,
            split=split,
            quality=quality,
            overwrite=overwrite,
            progress=advance,
            tell=unused.append,
        )
    show_counts([Entry(f"{video}/{name}", label, split) for video, name, label, split in rows], output)
    for text in (*unused, *endings):
        typer.echo(f"video-events: {text}", err=True)
    if endings:
        raise typer.Exit(PARTLY_DECODED)


def _open_clips(
    clips: list[str], stems: list[str], spans: Sequence[Sequence[Span] | None], endings: list[str]
) -> Iterator[Clip]:
    """One clip open at a time; ``endings`` gets a sentence for each that ends too early."""
    from models.data.frames import Clip
    from service.sources import open_source

    for clip, stem, marked in zip(clips, stems, spans, strict=True):
        with open_source(clip) as source:
            yield Clip(stem, _frames(source), marked)
            if source.ending:
                endings.append(source.ending)


def _frames(source: Source) -> Iterator[ClipFrame]:
    from models.data.frames import ClipFrame

    while (frame := source.read()) is not None:
        yield ClipFrame(frame.index, frame.pts, frame.image)


def _timestamp_files(stems: list[str], labels: list[Path]) -> list[Path | None]:
    if len(labels) == 1 and labels[0].is_dir():
        files = [labels[0] / f"{stem}.txt" for stem in stems]
        return [file if file.is_file() else None for file in files]
    if labels and len(labels) != len(stems):
        raise typer.BadParameter(
            f"{len(labels)} files of timestamps for {len(stems)} clips; give one for each, or a folder"
        )
    return [*labels] if labels else [None] * len(stems)


@app.command()
def timestamps(
    file: Annotated[
        Path,
        typer.Argument(metavar="TXT|CSV", help="Timestamps, or a labels.csv (video, frame, label[, split])."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The result.", show_default="standard output"),
    ] = None,
    clip: Annotated[
        str | None, typer.Option(help="Take the time and the number of its frames from this clip.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frame rate, if it is steady.")] = None,
    frame_count: Annotated[
        int | None, typer.Option("--frames", metavar="N", min=1, help="Number of frames of the clip.")
    ] = None,
    video: Annotated[
        str | None, typer.Option(help="Name of the video in the CSV.", show_default="that of the file")
    ] = None,
    outside: Outside = "background",
    overwrite: Overwrite = False,
) -> None:
    """Turn timestamps into labels of frames, or, given a CSV, labels of frames into timestamps.

    Lines look like '01:20:05 - 01:20:34 label' (or mm:ss, with decimals; # comments). A label holds from
    its first time to before its second. Frames are where --clip has them, as for 'data frames', even if
    its rate varies; --fps says that frame i is at i/fps.
    """
    from models.data import timestamps as tool
    from models.data.listing import refuse_to_overwrite

    times: list[float] = []
    if clip is not None:
        rate, times = _rate_and_times(clip)
        frame_count = len(times) if frame_count is None else frame_count
        if fps is not None:
            times = []
        fps = fps or rate
    if fps is None:
        raise typer.BadParameter("give the frame rate with --fps, or the clip with --clip")
    tool.check_rate(fps)
    if output is not None:
        refuse_to_overwrite(output, overwrite)
    if file.suffix.lower() == ".csv":
        text = tool.format_timestamps(tool.from_frames(_frames_of(file, video), fps, outside, times))
    else:
        if frame_count is None:
            raise typer.BadParameter("give the number of frames with --frames, or the clip with --clip")
        name = video or file.stem
        spans = tool.read_timestamps(file)
        labels = tool.to_frames(spans, fps, frame_count, outside, times)
        if late := tool.after_the_end(spans, tool.time_of(max(frame_count - 1, 0), fps, times)):
            typer.echo(f"video-events: {file}: {late}", err=True)
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["video", "frame", "label"])
        writer.writerows((name, f"{name}_{index:06d}.jpg", label) for index, label in enumerate(labels))
        text = lines.getvalue()
    _put(text, output)


def _rate_and_times(clip: str) -> tuple[float, list[float]]:
    """Frames a second as the container claims, and the time of each frame in seconds."""
    from service.sources import open_source

    times = []
    with open_source(clip) as source:
        while (frame := source.read()) is not None:
            times.append(frame.pts)
        return source.properties.fps, times


def _frames_of(file: Path, video: str | None) -> list[tuple[int, str]]:
    """Index and label of the frames of one video in a labels.csv, by index."""
    from models.data.check import number_of
    from models.data.listing import read_listing
    from models.errors import DatasetError

    entries = read_listing(file, file.parent).entries
    groups = sorted({entry.group for entry in entries})
    if video is None and len(groups) > 1:
        raise DatasetError(f"{file} has several videos, {', '.join(groups)}; say which with --video")
    chosen = [entry for entry in entries if video is None or entry.group == video]
    if not chosen:
        raise DatasetError(f"{file} has no video {video}; there are {', '.join(groups)}")
    numbered = [(number_of(entry.path), entry) for entry in chosen]
    strange = next((entry.path for number, entry in numbered if number is None), None)
    if strange is not None:
        raise DatasetError(f"{file}: {strange} has no number at its end that could be the frame's")
    return sorted((number, entry.label) for number, entry in numbered if number is not None)


def _put(text: str, output: Path | None) -> None:
    from models.errors import DatasetError

    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(text.encode())
    except OSError as error:
        raise DatasetError(f"cannot write {output}: {error.strerror}") from error
    except UnicodeEncodeError as error:
        raise DatasetError(f"cannot write {output}: the video's name is not UTF-8; say --video") from error
