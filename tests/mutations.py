"""Is every damaged file answered properly, while a live stream goes on?

    python -m tests.mutations [--count 200] [FILE...]

Files are damaged at random (bits, holes, cuts, doubled and swapped parts), uploaded one after the other, and
followed to their end. Beside them a stream is watched, whose labels must go on.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from tests.service.api.conftest import Served, make_clip, serving, until
from tests.service.fakes import scene
from tests.service.live import ColourModel, Follower

ROOT = Path(__file__).parents[1]
ENDS = ("done", "failed")
LIVE = "live"


@dataclass(frozen=True)
class Answer:
    """What became of a file: the state in which it ended, or the status with which it was refused."""

    name: str
    end: str
    reason: str


def damaged(data: bytes, chance: random.Random) -> bytes:
    """``data`` with one to four faults of random kinds."""
    result = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(max(1, len(result))), chance.randint(1, 4096)
        # Headers and indexes are where damage tells most, and they stand at the ends.
        if chance.random() < 0.5:
            at = chance.choice([at % 2048, max(0, len(result) - 1 - at % 2048)])
        kind = chance.randrange(6)
        if kind == 0:
            for _ in range(chance.randint(1, 32)):
                result[chance.randrange(len(result))] ^= 1 << chance.randrange(8)
        elif kind == 1:
            result[at : at + length] = bytes(len(result[at : at + length]))
        elif kind == 2:
            result[at : at + length] = chance.randbytes(length)
        elif kind == 3:
            del result[max(16, at) :]
        elif kind == 4:
            result[at:at] = result[at : at + length]
        else:
            result[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)])
    return bytes(result)


def originals(folder: Path) -> list[Path]:
    """Sound clips of the containers and codecs that people upload."""
    clips = [make_clip(folder / "small.avi"), ROOT / "example_clips" / "badminton.mp4"]
    for name, codec in (("small.mp4", "mp4v"), ("small.mkv", "mp4v"), ("small.webm", "VP80")):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*codec), 10, (64, 48))
        for colour in ["red"] * 20 + ["blue"] * 20:
            writer.write(scene(colour))
        writer.release()
        clips.append(folder / name)
    return clips


def mutated(folder: Path, count: int, seed: int) -> Iterator[Path]:
    """``count`` damaged files, one at a time."""
    sound = originals(folder)
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        original = chance.choice(sound)
        path = folder / f"damaged-{number}{original.suffix}"
        path.write_bytes(damaged(original.read_bytes()[: 150 << 10], chance))
        yield path
        path.unlink()


def upload_all(served: Served, files: Iterable[Path]) -> list[Answer]:
    """Upload one file after the other; raises AssertionError for an error of the service's own."""
    answers = []
    for path in files:
        answer = served.upload(path)
        document = answer.json()
        assert answer.status_code < 500, (path.name, answer.text)
        if answer.status_code == 202:
            found = until(lambda: (c := served.clip(document["id"]))["state"] in ENDS and c, 180)  # noqa: B023
            reason = str(found["error"] or "")
            answers.append(Answer(path.name, found["state"], reason))
            assert (found["state"] == "failed") <= bool(reason), path.name
        else:
            answers.append(Answer(path.name, str(answer.status_code), document["detail"]))
        reason = answers[-1].reason
        assert "Traceback" not in reason, (path.name, reason)
        assert str(served.data) not in reason, (path.name, reason)
    return answers


def watched_while(folder: Path, files: Iterable[Path]) -> tuple[list[Answer], float]:
    """The answers to ``files``, and the longest pause in seconds of a stream beside."""
    film = make_clip(folder / "film.avi", (["red"] * 20 + ["blue"] * 20) * 500)
    with (
        serving(folder / "data", ColourModel(), streams={LIVE: str(film)}) as served,
        Follower(served, f"/streams/{LIVE}/labels?mode=lossless") as labels,
    ):
        labels.wait(lambda message: message["type"] == "label", 60)
        began = time.monotonic()
        answers = upload_all(served, files)
        pause = labels.longest_pause(began)
        shown = served.client.get(f"/streams/{LIVE}").json()
        assert (shown["state"], shown["restarts"]) == ("live", 0)
    return answers, pause


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("files", nargs="*", type=Path, help="uploaded first, as they are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = itertools.chain(options.files, mutated(folder, options.count, options.seed))
        answers, pause = watched_while(folder, chosen)
    for end, number in sorted(Counter(answer.end for answer in answers).items()):
        example = next(answer for answer in answers if answer.end == end)
        print(f"{number:>5} {end:<7} such as {example.name}: {example.reason or 'events found'}")
    print(f"the stream beside paused for {pause:.2f} s at most")


if __name__ == "__main__":
    main()
