from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer

from service import outputs
from service.cli import app, status_of
from service.commands import train
from service.commands.statuses import BAD_INPUT, INTERRUPTED, NOBODY_READS, PARTLY_DECODED
from service.config import RunSettings
from service.errors import ConfigurationError, SinkError, SourceError
from service.outputs import display_name, output_stem
from service.run import LoadedModel, RunOptions, run_source
from service.sinks.avi import AviWriter
from service.sinks.event_files import EventReport, to_json
from service.smoothing import LONGEST_WINDOW
from tests.service.fakes import ColourClassifier, read_video, scene
from tests.service.sources.matroska import write_matroska
from tests.service.test_disk_and_clock import small_disk

PROGRAM = [sys.executable, "-c", "from service.cli import main; main()"]


def make_clip(path: Path, scenes: list[str], repeat: int = 1) -> Path:
    """A clip of the scenes at 10 frames per second, each shown for ``repeat`` frames."""
    with path.open("wb") as file:
        writer = AviWriter(file, 320, 240, Fraction(10))
        for name in scenes:
            jpeg = cv2.imencode(".jpg", scene(name, 320, 240))[1].tobytes()
            for _ in range(repeat):
                writer.write(jpeg)
        writer.close()
    return path


def fake_model(options: RunOptions) -> LoadedModel:
    return LoadedModel("colours 1", ColourClassifier())


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.avi", ["background"] * 10 + ["red"] * 30 + ["blue"] * 30)


@pytest.fixture
def options(clip: Path, tmp_path: Path) -> RunOptions:
    return RunOptions(source=str(clip), directory=tmp_path / "out", settings=RunSettings(window=4))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_writes_video_and_events(options: RunOptions, capsys: pytest.CaptureFixture[str]) -> None:
    """The main job: a clip goes in, its annotated copy and its events come out, and a table says so."""
    result = run_source(options, fake_model)
    assert [event.label for event in result.events] == ["red", "blue"]
    assert names(options.directory) == [
        "clip.events.csv",
        "clip.events.json",
        "clip.events.vtt",
        "clip_events.avi",
    ]
    frames, fps = read_video(options.directory / "clip_events.avi")
    assert (len(frames), fps, frames[0].shape) == (70, 10, (240, 320, 3))
    output = capsys.readouterr()
    assert "00:01.000" in output.out
    assert "clip.events.json" in output.out
    assert not output.err


def test_json_is_all_of_stdout(options: RunOptions, capsys: pytest.CaptureFixture[str]) -> None:
    """Another program can read stdout as it is, and finds there what the file holds."""
    run_source(replace(options, as_json=True), fake_model)
    printed = capsys.readouterr().out
    document = json.loads(printed)
    assert (document["source"], document["model"], document["frames"]) == ("clip.avi", "colours 1", 70)
    assert printed == (options.directory / "clip.events.json").read_text()


def test_same_clip_twice_gives_the_same_bytes(options: RunOptions, tmp_path: Path) -> None:
    """Results can be compared and cached: nothing but the clip and the settings goes into them."""
    other = replace(options, directory=tmp_path / "other")
    run_source(options, fake_model)
    run_source(other, fake_model)
    for name in names(options.directory):
        assert (options.directory / name).read_bytes() == (other.directory / name).read_bytes()
    run_source(options, fake_model)  # and its own results may be replaced


def test_one_thread_of_opencv(options: RunOptions) -> None:
    """OpenCV's pool of threads does not compete with decoder, network and encoder for the cores."""
    cv2.setNumThreads(2)
    run_source(options, fake_model)
    assert cv2.getNumThreads() == 1


@pytest.mark.parametrize(("aspect", "shown"), [(Fraction(64, 45), (64, 45)), (Fraction(1), (1, 1))])
def test_the_video_has_the_shape_of_the_source(tmp_path: Path, aspect: Fraction, shown: object) -> None:
    """The pixels of a DVD are not square: what was wide is not shown squeezed; others need no such note."""
    with (tmp_path / "disc.avi").open("wb") as file:
        writer = AviWriter(file, 360, 288, Fraction(25), pixel_aspect=aspect)
        for _ in range(3):
            writer.write(cv2.imencode(".jpg", scene("red", 360, 288))[1].tobytes())
        writer.close()
    source = str(tmp_path / "disc.avi")
    run_source(RunOptions(source=source, directory=tmp_path, settings=RunSettings()), fake_model)
    capture = cv2.VideoCapture(str(tmp_path / "disc_events.avi"))
    assert (capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)) == shown
    assert (b"vprp" in (tmp_path / "disc_events.avi").read_bytes()) == (aspect != 1)
    assert len(read_video(tmp_path / "disc_events.avi")[0]) == 3


def test_no_video(options: RunOptions) -> None:
    """Who wants only the events is spared the video."""
    run_source(replace(options, video=False), fake_model)
    assert "clip_events.avi" not in names(options.directory)


def test_labels_restrict(options: RunOptions) -> None:
    """Only the labels asked for become events."""
    result = run_source(replace(options, labels=("blue",)), fake_model)
    assert [event.label for event in result.events] == ["blue"]


def test_files_of_others_are_not_overwritten(options: RunOptions) -> None:
    """A person's own file of the same name survives, unless they say otherwise."""
    options.directory.mkdir()
    own = options.directory / "clip.events.json"
    own.write_text('{"events": "by hand"}')
    with pytest.raises(ConfigurationError, match="--overwrite"):
        run_source(options, fake_model)
    assert "by hand" in own.read_text()
    run_source(replace(options, overwrite=True), fake_model)
    assert "by hand" not in own.read_text()


def test_another_clip_of_the_same_name_is_not_overwritten(options: RunOptions, tmp_path: Path) -> None:
    """Cameras call their files alike: only results of the very same file are replaced unasked."""
    (tmp_path / "other").mkdir()
    other = make_clip(tmp_path / "other" / "clip.avi", ["blue"] * 30)
    run_source(options, fake_model)
    before = (options.directory / "clip.events.json").read_bytes()
    with pytest.raises(ConfigurationError, match="--overwrite"):
        run_source(replace(options, source=str(other)), fake_model)
    run_source(options, fake_model)
    assert (options.directory / "clip.events.json").read_bytes() == before


@pytest.mark.parametrize("source", ["rtsp://127.0.0.1:9/hall", "http://127.0.0.1:9/?camera=1", "0"])
def test_results_of_a_live_source_are_not_overwritten(options: RunOptions, source: str) -> None:
    """What a camera showed yesterday is not replaced by what it shows today, unless one says so."""
    live = replace(options, source=source)
    report = EventReport(display_name(source), "colours 1", 4, None, 9, 25.0, 0.4, ())
    options.directory.mkdir()
    own = options.directory / f"{output_stem(source)}.events.json"
    own.write_text(to_json(report))
    with pytest.raises(ConfigurationError, match=r"--output.*--overwrite"):
        run_source(live, fake_model)
    with pytest.raises(SourceError):  # it is not there
        run_source(replace(live, overwrite=True), fake_model)


def test_results_of_a_folder_of_images_are_replaced(options: RunOptions, tmp_path: Path) -> None:
    """A folder of images is worked on again without a question, as a file is, also by its file:// address."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), scene("red"))
    for source in (str(folder), f"file://{options.source}"):
        for _ in range(2):
            run_source(replace(options, source=source, video=False), fake_model)


def test_other_images_of_the_same_name_are_not_overwritten(options: RunOptions, tmp_path: Path) -> None:
    """Frames of two clips often lie in folders, or under patterns, of one name: neither costs the other."""
    for folder, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / folder / "frames").mkdir(parents=True)
        for number in range(3):
            cv2.imwrite(str(tmp_path / folder / "frames" / f"{number}.bmp"), scene(colour))
    for last in ("frames", "frames/%d.bmp"):
        first, second = (
            replace(options, source=str(tmp_path / folder / last), video=False) for folder in "ab"
        )
        for _ in range(2):
            run_source(first, fake_model)
        with pytest.raises(ConfigurationError, match="--overwrite"):
            run_source(second, fake_model)


def test_times_of_a_clip_without_a_rate(options: RunOptions, tmp_path: Path) -> None:
    """An event lies in the annotated video where the list says, in a browser's recording of any rate too."""
    random = np.random.default_rng(0)
    scenes = ["background"] * 60 + ["red"] * 120 + ["background"] * 60
    times = [index / 30 + random.uniform(0, 0.012) for index in range(180)]
    times += [6.2 + index / 5 + random.uniform(0, 0.05) for index in range(60)]
    clip = write_matroska(
        tmp_path / "clip.mkv",
        [(time - times[0], scene(name, 320, 240)) for time, name in zip(times, scenes, strict=True)],
    )
    capture = cv2.VideoCapture(str(clip))
    assert capture.get(cv2.CAP_PROP_FPS) == 1000
    capture.release()
    result = run_source(replace(options, source=str(clip)), fake_model)
    assert (result.ended_early, result.frames) == (None, 240)
    (event,) = result.events
    frames, fps = read_video(options.directory / "clip_events.avi")
    assert fps == pytest.approx(30, rel=0.02)
    assert len(frames) / fps == pytest.approx(result.duration, abs=0.3)
    red = [index / fps for index, frame in enumerate(frames) if frame[-20:, :, 2].mean() > 150]
    assert red[0] == pytest.approx(event.start_pts, abs=0.2)
    assert red[-1] == pytest.approx(event.end_pts, abs=0.2)


def test_a_full_disk_costs_no_event(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a disk without room for the video both it and the lists of events cover what was seen; status 3."""
    clip = make_clip(tmp_path / "clip.avi", ["red"], repeat=3000)
    with small_disk(tmp_path / "disk", "3m") as disk:
        status = status_of(["run", str(clip), "--model", str(model), "-o", str(disk / "out")])
        errors = capsys.readouterr().err
        assert status == PARTLY_DECODED, errors
        assert "No space left on device; the events are those of the first" in errors
        document = json.loads((disk / "out" / "clip.events.json").read_text())
        assert [event["label"] for event in document["events"]] == ["red"]
        frames, _ = read_video(disk / "out" / "clip_events.avi")
        assert 50 < len(frames) <= document["frames"] < 3000
        assert len(names(disk / "out")) == 4


def test_lists_that_cannot_be_written_are_shown(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no room for the lists either, the events are printed before that is told."""

    def full(*_: object) -> tuple[Path, ...]:
        raise SinkError("cannot write clip.events.json: No space left on device")

    monkeypatch.setattr(outputs, "write_event_files", full)
    with pytest.raises(SinkError, match="No space left"):
        run_source(replace(options, as_json=True), fake_model)
    assert [event["label"] for event in json.loads(capsys.readouterr().out)["events"]] == ["red", "blue"]
    assert names(options.directory) == ["clip_events.avi"]


def test_source_is_never_overwritten(clip: Path, options: RunOptions) -> None:
    """An output that leads to the source itself is refused even with --overwrite."""
    options.directory.mkdir()
    (options.directory / "clip_events.avi").symlink_to(clip)
    with pytest.raises(ConfigurationError, match="the source itself"):
        run_source(replace(options, overwrite=True), fake_model)
    assert len(read_video(clip)[0]) == 70


def test_a_directory_in_the_way_is_told_at_once(options: RunOptions) -> None:
    """Not after the whole run, when the video cannot get its name."""
    (options.directory / "clip_events.avi").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="is a directory; choose another place"):
        run_source(replace(options, overwrite=True), fake_model)
    assert names(options.directory) == ["clip_events.avi"]


def test_failed_source_leaves_nothing(tmp_path: Path) -> None:
    """Without a source there is no output directory either."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 1000)
    options = RunOptions(source=str(broken), directory=tmp_path / "out", settings=RunSettings())
    with pytest.raises(SourceError):
        run_source(options, fake_model)
    assert names(tmp_path) == ["broken.mp4"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "no-such-file.mp4"],
        ["run", "x.mp4", "--window", "0"],
        ["run", "x.mp4", "--window", "5", "--window-seconds", "2"],
        ["run", "x.mp4", "--window", "many"],
        ["run", "x.mp4", "--exit", "0.9"],
        ["run", "x.mp4", "--engine", "abacus"],
        ["run", "x.mp4", "--no-such-option"],
        ["no-such-command"],
        ["run", str(Path(__file__))],
        ["run", "x" * 300 + ".mp4"],
        ["run", "x" * 245 + ".mp4"],
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the arguments, the answer is one line on stderr and status 2."""
    monkeypatch.chdir(tmp_path)
    assert status_of(arguments) == BAD_INPUT
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("video-events: ")
    assert output.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_name_too_long_for_results_is_told(options: RunOptions, clip: Path) -> None:
    """Before any work, as results are called like their source."""
    long = clip.rename(clip.with_name("x" * 245 + ".avi"))
    with pytest.raises(ConfigurationError, match="too long a name for results"):
        run_source(replace(options, source=str(long)), fake_model)


def test_help_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake tells where help is, no arguments are answered with it, and its paragraphs are whole."""
    assert status_of(["run"]) == BAD_INPUT
    assert "run --help' tells more" in capsys.readouterr().err
    assert status_of([]) == BAD_INPUT
    shown = capsys.readouterr()
    assert "Commands" in shown.out
    assert shown.err == ""
    assert status_of(["run", "--help"]) == 0
    assert "<name>.events.csv and <name>.events.vtt." in " ".join(capsys.readouterr().out.split())


def test_unknown_model_is_told(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is not there is one line and status 2 as well."""
    assert status_of(["run", str(clip), "--model", "no-such-model"]) == BAD_INPUT
    assert "no-such-model" in capsys.readouterr().err


def test_ctrl_c_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a command was at when it was interrupted, a person reads that it was."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "_planned", interrupted)
    assert status_of(["train", "data", "-o", "out"]) == INTERRUPTED
    assert capsys.readouterr().err == "video-events: interrupted\n"


@pytest.mark.parametrize(
    ("taken", "status", "errors"),
    [
        ("", NOBODY_READS, ""),
        ("/dev/full", BAD_INPUT, "video-events: cannot write: No space left on device\n"),
    ],
)
def test_output_that_nobody_takes(taken: str, status: int, errors: str) -> None:
    """A reader that has gone is no fault, a full disk is one that has a name; neither is a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    if taken:
        os.dup2(os.open(taken, os.O_WRONLY), writer)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [*PROGRAM, "models", "list", "--json"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writer)
    assert (done.returncode, done.stderr) == (status, errors)


def test_a_table_that_nobody_reads() -> None:
    """Rich answers a reader that has gone by ending the program as if it were at fault; it is not."""
    shown = "from rich.console import Console; from service import cli; "
    shown += "cli._invoke = lambda _: Console().print('events'); cli.main()"
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", shown]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writer)
    assert (done.returncode, done.stderr) == (NOBODY_READS, "")


@pytest.mark.parametrize("closed", [["run", "clip.mp4", "--json"], ["models", "list", "--json"]])
def test_a_closed_output_is_told_before_any_work(
    closed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after ``>&-``, where Python has no stdout at all: what is to be printed would be lost."""
    monkeypatch.setattr(sys, "stdout", None)
    assert status_of(closed) == BAD_INPUT
    assert capsys.readouterr().err == "video-events: --json prints to standard output, which is closed\n"


def test_results_in_files_need_no_output(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has closed stdout and wants the files gets them."""
    monkeypatch.setattr(sys, "stdout", None)
    run_source(options, fake_model)
    assert len(names(options.directory)) == 4


def test_every_option_says_what_it_is() -> None:
    """Of every command, down to the last; a bound that is written there is the one that holds."""

    def parameters(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        yield from ((f"{path} {one.name}", one) for one in command.params)
        for name, part in getattr(command, "commands", {}).items():
            yield from parameters(part, f"{path} {name}")

    told = {name: one.help for name, one in parameters(typer.main.get_command(app), "")}
    assert len(told) > 100
    assert [name for name, text in told.items() if not text] == []
    assert f"up to {LONGEST_WINDOW}" in told[" run window"]


def test_help_imports_nothing_heavy() -> None:
    """``--help`` stays quick: no image or network library is loaded for it."""
    code = (
        "import sys, service.cli; status = service.cli.status_of(['run', '--help']); "
        "print([m for m in ('numpy', 'cv2', 'tensorflow', 'keras') if m in sys.modules], status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[] 0\n")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored model that calls everything 'red', whatever it sees, in 32×32 pixels."""
    from models import architectures
    from models.artifact import save_artifact
    from models.preprocessing import Preprocessing

    folder = tmp_path_factory.mktemp("model")
    options = {"dense": 0}
    network = architectures.build("resnet50", 3, Preprocessing(height=32, width=32), **options)
    network.get_layer("head_logits").set_weights([np.zeros((2048, 3)), np.array([4.0, 0.0, 0.0])])
    save_artifact(
        folder,
        network,
        name="always-red",
        version="1",
        architecture="resnet50",
        options=options,
        labels=("red", "blue", "background"),
        preprocessing=Preprocessing(height=32, width=32),
        temperature=1.0,
        records={},
    )
    return folder


def test_whole_program(model: Path, tmp_path: Path) -> None:
    """The installed program, with a real stored model, a real clip and a name that starts with a dash."""
    make_clip(tmp_path / "-clip-.avi", ["red"] * 20)
    command = [*PROGRAM, "run", "--json", "--model", str(model), "-o", "out", "--", "-clip-.avi"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    events = json.loads(done.stdout)["events"]
    assert [(e["label"], e["start_pts"], e["end_pts"]) for e in events] == [("red", 0.0, 2.0)]
    assert len(names(tmp_path / "out")) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_program_finishes_its_files(model: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, or a polite kill, leaves a playable video and an event list, and status 130."""
    make_clip(tmp_path / "long.avi", ["red"], repeat=20_000)
    command = [*PROGRAM, "run", "long.avi", "--model", str(model), "-o", "out"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment
    ) as program:
        deadline = time.monotonic() + 120
        part = tmp_path / "out" / "long_events.avi.part"
        while not (part.exists() and part.stat().st_size > 100_000) and time.monotonic() < deadline:
            time.sleep(0.05)
        program.send_signal(number)
        _, errors = program.communicate(timeout=60)
    assert program.returncode == 130, errors
    assert errors.startswith("video-events: interrupted; ")
    assert errors.count("\n") == 1
    document = json.loads((tmp_path / "out" / "long.events.json").read_text())
    assert [event["end_reason"] for event in document["events"]] == ["end_of_stream"]
    assert 0 < document["frames"] < 20_000
    assert len(read_video(tmp_path / "out" / "long_events.avi")[0]) == document["frames"]
    assert len(names(tmp_path / "out")) == 4


def test_a_terminal_that_is_closed_costs_no_result(model: Path, tmp_path: Path) -> None:
    """A connection that breaks takes the bar away and sends SIGHUP, twice with a shell; files are whole."""
    make_clip(tmp_path / "long.avi", ["red"], repeat=20_000)
    ours, terminal = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "run", "long.avi", "--model", str(model), "-o", "out"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as program:
        os.close(terminal)
        part = tmp_path / "out" / "long_events.avi.part"
        while not (part.exists() and part.stat().st_size > 100_000):
            assert os.read(ours, 1000)  # the bar moves; it fails once the program has ended
        os.close(ours)
        program.send_signal(signal.SIGHUP)
        program.send_signal(signal.SIGHUP)
        assert program.wait(60) == 130
    document = json.loads((tmp_path / "out" / "long.events.json").read_text())
    assert len(read_video(tmp_path / "out" / "long_events.avi")[0]) == document["frames"]
    assert len(names(tmp_path / "out")) == 4
