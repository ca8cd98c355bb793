"""A network whose labels come and go: every answer is of one set of labels, and says which."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.prototypes import Reference
from service.errors import (
    LabelExistsError,
    LabelNotFoundError,
    LearningError,
    StorageError,
    UnavailableError,
)
from service.inference.client import RemoteClassifier
from service.inference.lanes import Run
from service.inference.queueing import BatchSettings
from service.inference.server import InferenceListener, InferenceServer, InferenceSettings
from service.learning import engine as engines
from service.learning import store as stores
from service.learning.engine import LearnedClassifier, LearnedEngine
from service.learning.store import INDEX, LabelState, LabelStore
from tests.service.fakes import ColourClassifier, scene

WIDTH = 12


def inputs(*names: str) -> np.ndarray:
    return np.stack([ColourClassifier().model_input(scene(name)) for name in names])


def teach(store: LabelStore, name: str, state: LabelState = LabelState.SERVED) -> None:
    jpegs = [cv2.imencode(".jpg", scene(name))[1].tobytes()] * 5
    store.add(name, state, "colours 1", jpegs, ColourClassifier().embed(inputs(*[name] * 5))[1])


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(tmp_path, "colours")


def engine_of(store: LabelStore) -> LearnedEngine:
    return LearnedEngine(ColourClassifier(), store, "colours 1", Reference.none(WIDTH))


class Server:
    """An inference server in a thread of this process; a context manager."""

    def __init__(self, store: LabelStore, max_batch: int = 4) -> None:
        self._listener = InferenceListener()
        settings = InferenceSettings(batching=BatchSettings(max_batch=max_batch, max_wait=0.0))
        engine = engine_of(store)
        classifier = LearnedClassifier(engine, ColourClassifier())
        self._server = InferenceServer(self._listener.socket, classifier, settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._server.step(0.02)

    def connect(self, **options: object) -> RemoteClassifier:
        return RemoteClassifier(
            self._listener.address,
            ColourClassifier(),
            **options,  # type: ignore[arg-type]
        )

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._server.close()
        self._listener.close()


def until_labels(client: RemoteClassifier, wanted: tuple[str, ...]) -> None:
    for _ in range(2000):
        client.classify(inputs("red"))
        if client.labels[4:] == wanted:
            return
    raise AssertionError(client.labels)


def test_labels_come_and_go_between_two_answers(store: LabelStore) -> None:
    """The same connection hears of a label on trial, of its promotion and its end; rows always sum to 1."""
    with Server(store) as server, server.connect(timeout=10) as client:
        assert client.judge(inputs("yellow")).shadows == ()
        teach(store, "yellow", LabelState.SHADOW)
        while not (judgement := client.judge(inputs("yellow", "red"))).shadows:
            pass
        assert judgement.labels == tuple(ColourClassifier().labels)
        assert judgement.shadow_probabilities[0, 0] > 0.9
        assert judgement.shadow_probabilities[1, 0] < 0.1
        promised = float(judgement.shadow_probabilities[0, 0])
        store.promote("yellow")
        until_labels(client, ("yellow",))
        judgement = client.judge(inputs("yellow", "red", "violet"))
        assert judgement.shadows == ()
        assert judgement.probabilities[0, 4] == pytest.approx(promised, abs=1e-5)
        np.testing.assert_allclose(judgement.probabilities.sum(axis=1), 1, atol=1e-5)
        store.remove("yellow")
        until_labels(client, ())
        assert client.judge(inputs("red")).probabilities.shape == (1, 4)


def test_a_request_is_answered_by_one_set_of_labels(store: LabelStore) -> None:
    """However often labels change while a long request goes through in many batches, its rows agree."""
    with Server(store, max_batch=2) as server, server.connect(slots=3, timeout=20) as client:
        stop = threading.Event()
        chance = random.Random(1)  # no rhythm that the server, which looks now and then, could fall in with

        def change() -> None:
            while not stop.is_set():
                teach(store, "yellow")
                stop.wait(chance.uniform(0.01, 0.1))
                store.remove("yellow")
                stop.wait(chance.uniform(0.01, 0.1))

        changing = threading.Thread(target=change)
        changing.start()
        try:
            seen = [4]
            deadline = time.monotonic() + 20
            while len(seen) < 10 and time.monotonic() < deadline:
                judgement = client.judge(inputs(*["yellow"] * 7))
                if len(judgement.labels) != seen[-1]:
                    seen.append(len(judgement.labels))
                assert len({row.tobytes() for row in judgement.probabilities}) == 1
                np.testing.assert_allclose(judgement.probabilities.sum(axis=1), 1, atol=1e-5)
        finally:
            stop.set()
            changing.join()
        assert seen == [4, 5] * 5


def test_features_come_to_who_asks_for_them(store: LabelStore) -> None:
    """They are those of the network; other clients get none."""
    with Server(store) as server, server.connect(with_features=True, timeout=10) as client:
        known, features = client.embed(inputs("red", "yellow"))
        expected = ColourClassifier().embed(inputs("red", "yellow"))
        np.testing.assert_allclose(known, expected[0], atol=1e-6)
        np.testing.assert_allclose(features, expected[1], atol=1e-6)


def test_the_index_decides_and_nothing_else(store: LabelStore, caplog: pytest.LogCaptureFixture) -> None:
    """A torn index changes nothing that is served; what is not in the index does not exist."""
    engine = engine_of(store)
    teach(store, "yellow")
    assert engine.refresh()
    assert engine.labels[4:] == ("yellow",)
    assert not engine.refresh()
    whole = (store.folder / INDEX).read_text()
    (store.folder / INDEX).write_text(whole[:40])
    assert not engine.refresh()
    assert engine.labels[4:] == ("yellow",)
    assert "stay as they are" in caplog.text
    with pytest.raises(StorageError, match="cannot be read"):
        store.load()
    caplog.clear()
    (store.folder / INDEX).unlink()
    assert engine.refresh()
    assert engine.labels[4:] == ()


@pytest.mark.parametrize("content", [b"", bytes(400)], ids=["empty", "zeros"])
def test_a_damaged_label_costs_only_itself(
    store: LabelStore, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """As a power cut leaves it: the network starts, and the other labels are served."""
    jpegs, features = [b"jpeg"] * 5, ColourClassifier().embed(inputs(*["yellow"] * 5))[1]
    for name in ("yellow", "amber"):
        store.add(name, LabelState.SERVED, "colours 1", jpegs, features)
    amber = store.load().find("amber")
    (store.folder / amber.id / amber.features).write_bytes(content)
    assert engine_of(store).labels[4:] == ("yellow",)
    assert "learned label amber is left out" in caplog.text


@pytest.mark.parametrize("read", ["load", "features"])
def test_what_cannot_be_read_for_a_moment_is_read_later(
    store: LabelStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, read: str
) -> None:
    """A label does not stay away because a file could not be opened once; that is logged once."""
    monkeypatch.setattr(engines, "AGAIN", 0.0)
    engine = engine_of(store)
    teach(store, "yellow")

    def refuse(*_: object) -> None:
        raise UnavailableError("too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(LabelStore, read, refuse)
        assert [engine.refresh() for _ in range(3)] == [False] * 3
    assert len(caplog.records) == 1
    assert engine.refresh()
    assert engine.labels[4:] == ("yellow",)


def test_a_label_that_cannot_be_stored_leaves_nothing(
    store: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are given once, there is a limit, and what fails on the way is cleaned up."""
    teach(store, "yellow")
    with pytest.raises(LabelExistsError):
        teach(store, "yellow")
    with pytest.raises(LabelNotFoundError, match="there are: yellow"):
        store.promote("violet")
    monkeypatch.setattr(stores, "MOST_LABELS", 1)
    with pytest.raises(LearningError, match="as many as a model may have"):
        teach(store, "violet")
    assert [path.name for path in store.folder.iterdir() if path.is_dir()] == [store.load().labels[0].id]


def test_a_label_that_comes_amid_a_request_counts_for_all_of_it(
    store: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input that was judged before is judged once more: no row lacks the label that its answer names."""
    with Server(store, max_batch=1) as server, server.connect(timeout=10) as client:
        inner = server._server
        finish, labels = inner._finish, iter(["yellow"])

        def finish_and_learn(run: Run) -> None:
            finish(run)
            for label in labels:
                teach(store, label)
                inner._look_at = 0.0
                inner._refresh()

        monkeypatch.setattr(inner, "_finish", finish_and_learn)
        judgement = client.judge(inputs("yellow", "yellow"))
        assert judgement.labels[4:] == ("yellow",)
        assert (judgement.probabilities[:, 4] > 0.9).all()
