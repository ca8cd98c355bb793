"""The batching policy: who goes through the network together, and when."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ConfigurationError
from service.inference.queueing import BatchSettings, FairQueue, Priority

LIVE, UPLOAD = Priority.LIVE, Priority.UPLOAD


def queue_of(*clients: Priority, max_batch: int = 4, upload_patience: float = 1.0) -> FairQueue:
    """A queue that knows clients 0, 1, ...; the wait is 10 ms."""
    settings = BatchSettings(max_batch=max_batch, max_wait=0.01, upload_patience=upload_patience)
    queue = FairQueue(settings)
    for number, priority in enumerate(clients):
        queue.connect(number, priority)
    return queue


def taken(queue: FairQueue, now: float = 0.0) -> list[tuple[int, int]]:
    return [(ticket.client, ticket.position) for ticket in queue.take(now)]


def test_a_batch_waits_for_others_only_so_long() -> None:
    """Due after the wait of its oldest input; at once when full or when nobody is left to wait for."""
    queue = queue_of(LIVE, LIVE, LIVE)
    assert queue.due_at() is None
    queue.submit(0, 1, 5.0)
    queue.submit(1, 1, 5.005)
    assert queue.due_at() == pytest.approx(5.01)
    queue.submit(2, 1, 5.006)
    assert queue.due_at() == float("-inf")
    queue.disconnect(2)
    queue.connect(3, LIVE)
    assert queue.due_at() == pytest.approx(5.01)
    queue.submit(3, 2, 5.008)
    assert queue.due_at() == float("-inf")


def test_clients_take_turns_input_by_input() -> None:
    """A client with many inputs does not hold up one with a single input, and turns go on between batches."""
    queue = queue_of(LIVE, LIVE, LIVE)
    queue.submit(0, 4, 0.0)
    queue.submit(1, 1, 0.0)
    queue.submit(2, 3, 0.0)
    assert taken(queue) == [(0, 0), (1, 0), (2, 0), (0, 1)]
    assert taken(queue) == [(2, 1), (0, 2), (2, 2), (0, 3)]
    assert taken(queue) == []


def test_live_before_uploads() -> None:
    """An upload that came first still gives way to live streams, and fills what they leave free."""
    queue = queue_of(UPLOAD, LIVE, LIVE)
    queue.submit(0, 8, 0.0)
    queue.submit(1, 1, 0.1)
    queue.submit(2, 2, 0.1)
    assert taken(queue, 0.2) == [(1, 0), (2, 0), (2, 1), (0, 0)]


@pytest.mark.parametrize("max_batch", [1, 4])
def test_uploads_do_not_starve(max_batch: int) -> None:
    """While live streams would fill every batch, uploads get exactly one place per patience."""
    queue = queue_of(UPLOAD, LIVE, max_batch=max_batch)
    queue.submit(0, 100, 0.0)
    served = []
    for tenth in range(1, 51):
        if queue.depth < 100 + max_batch:
            queue.disconnect(1)
            queue.connect(1, LIVE)
            queue.submit(1, max_batch, tenth / 10)
        served += [tenth / 10 for client, _ in taken(queue, tenth / 10) if client == 0]
    assert served == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0])


def test_a_lost_client_leaves_nothing() -> None:
    """Inputs of a client that is gone take no place in a batch, and are counted."""
    queue = queue_of(LIVE, LIVE)
    queue.submit(0, 3, 0.0)
    queue.submit(1, 1, 0.0)
    assert queue.disconnect(0) == 3
    assert queue.disconnect(1) == 1
    assert (queue.depth, queue.due_at(), taken(queue)) == (0, None, [])


@given(
    requests=st.lists(st.tuples(st.sampled_from(Priority), st.integers(1, 20)), min_size=1, max_size=8),
    max_batch=st.integers(1, 9),
)
def test_every_input_is_served_once_in_order_and_fairly(
    requests: list[tuple[Priority, int]], max_batch: int
) -> None:
    """Whatever the load: batches are full until the last, order is kept, equals differ by one at most."""
    queue = queue_of(*(priority for priority, _ in requests), max_batch=max_batch)
    for client, (_, count) in enumerate(requests):
        queue.submit(client, count, 0.0)
    progress: Counter[int] = Counter()
    while queue.depth:
        left = queue.depth
        batch = taken(queue)
        assert len(batch) == min(max_batch, left)
        for client, position in batch:
            assert position == progress[client]
            progress[client] += 1
            priority = requests[client][0]
            for other, (others, count) in enumerate(requests):
                if others is priority and progress[other] < count:
                    assert progress[client] <= progress[other] + 1
                assert not (others < priority and progress[other] < count), "an upload went first"
    assert progress == Counter({client: count for client, (_, count) in enumerate(requests)})


@pytest.mark.parametrize(
    "settings", [{"max_batch": 0}, {"max_wait": -1.0}, {"max_wait": float("nan")}, {"upload_patience": -0.1}]
)
def test_limits_that_cannot_work_are_refused(settings: dict[str, float]) -> None:
    """A mistyped limit is told at once instead of stalling every stream."""
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        BatchSettings(**settings).check()  # type: ignore[arg-type]
