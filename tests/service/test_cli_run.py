from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.cli import status_of
from service.commands.statuses import BAD_INPUT
from service.config import RunSettings
from service.errors import ConfigurationError, SourceError
from service.run import LoadedModel, RunOptions, display_name, output_stem, run_source, timecode
from service.sinks.avi import AviWriter
from tests.service.fakes import ColourClassifier, read_video, scene

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


def test_source_is_never_overwritten(clip: Path, options: RunOptions) -> None:
    """An output that leads to the source itself is refused even with --overwrite."""
    options.directory.mkdir()
    (options.directory / "clip_events.avi").symlink_to(clip)
    with pytest.raises(ConfigurationError, match="the source itself"):
        run_source(replace(options, overwrite=True), fake_model)
    assert len(read_video(clip)[0]) == 70


def test_failed_source_leaves_nothing(tmp_path: Path) -> None:
    """Without a source there is no output directory either."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 1000)
    options = RunOptions(source=str(broken), directory=tmp_path / "out", settings=RunSettings())
    with pytest.raises(SourceError):
        run_source(options, fake_model)
    assert names(tmp_path) == ["broken.mp4"]


@pytest.mark.parametrize(
    ("source", "stem", "name"),
    [
        ("a/match.final.mp4", "match.final", "match.final.mp4"),
        ("-dash-.mp4", "-dash-", "-dash-.mp4"),
        ("0", "camera0", "0"),
        ("rtsp://me:secret@cam:554/hall/1", "cam_hall_1", "rtsp://***@cam:554/hall/1"),
        ("http://cam/live.mjpg", "cam_live", "http://cam/live.mjpg"),
    ],
)
def test_names(source: str, stem: str, name: str) -> None:
    """Outputs are named after the source, and no password gets into a name."""
    assert (output_stem(source), display_name(source)) == (stem, name)


def test_timecode() -> None:
    """Times in the table round and carry like a clock."""
    assert [timecode(t) for t in (0, 59.9996, 3599.9999)] == ["00:00.000", "01:00.000", "1:00:00.000"]


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


def test_help_is_near(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake in the arguments tells where help is, and its paragraphs are not broken twice."""
    assert status_of(["run"]) == BAD_INPUT
    assert "run --help' tells more" in capsys.readouterr().err
    assert status_of(["run", "--help"]) == 0
    assert "<name>.events.csv and <name>.events.vtt." in " ".join(capsys.readouterr().out.split())


def test_unknown_model_is_told(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is not there is one line and status 2 as well."""
    assert status_of(["run", str(clip), "--model", "no-such-model"]) == BAD_INPUT
    assert "no-such-model" in capsys.readouterr().err


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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
