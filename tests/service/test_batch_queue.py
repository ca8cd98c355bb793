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


@given(
    greedy=st.integers(2, 40),
    others=st.integers(1, 12),
    max_batch=st.integers(1, 9),
    rounds=st.integers(1, 12),
)
def test_a_greedy_stream_gets_no_more_than_the_others(
    greedy: int, others: int, max_batch: int, rounds: int
) -> None:
    """One client always has a pile waiting, the others one input at a time: all are served alike."""
    max_batch = min(max_batch, others + 1)  # what is left when all have a place may go to anyone
    queue = queue_of(*[LIVE] * (others + 1), max_batch=max_batch)
    waiting = dict.fromkeys(range(others + 1), 0)
    served: Counter[int] = Counter()
    while sum(served.values()) < rounds * (others + 1):
        for client, left in waiting.items():
            if not left:
                waiting[client] = greedy if client == 0 else 1
                queue.submit(client, waiting[client], 0.0)
        assert queue.depth <= greedy + others  # bounded by what clients may have open
        for client, _ in taken(queue):
            waiting[client] -= 1
            served[client] += 1
        assert max(served.values()) <= min(served[client] for client in waiting) + 1


@given(
    arrivals=st.lists(st.integers(0, 3), min_size=5, max_size=60),
    uploads=st.integers(1, 5),
    live=st.integers(1, 4),
    max_batch=st.integers(2, 9),
)
def test_uploads_delay_a_live_frame_by_one_batch_at_most(
    arrivals: list[int], uploads: int, live: int, max_batch: int
) -> None:
    """However much is uploaded: a live frame is in the next batch, or in the one after it if others are live.

    That batch may hold one upload whose patience is at an end, which is all that it costs.
    """
    queue = queue_of(*[LIVE] * live, *[UPLOAD] * uploads, max_batch=max_batch, upload_patience=0.25)
    for client in range(live, live + uploads):
        queue.submit(client, 1000, 0.0)
    open_live: dict[int, int] = {}
    for number, arrived in enumerate(arrivals):
        now = number * 0.1
        for client in range(min(arrived, live)):
            if client not in open_live:
                queue.submit(client, 1, now)
                open_live[client] = 0
        batch = queue.take(now)
        for client in (ticket.client for ticket in batch if ticket.priority is LIVE):
            open_live.pop(client)
        assert sum(ticket.priority is UPLOAD for ticket in batch) <= 1 or not open_live
        for client in open_live:
            open_live[client] += 1
            assert open_live[client] <= -(-live // (max_batch - 1)), "an upload went first, again and again"


def test_uploads_keep_batches_short_while_there_are_live_streams() -> None:
    """A live frame that comes just after a batch began waits for a short one; alone, uploads fill all."""
    queue = queue_of(UPLOAD, LIVE, max_batch=8)
    queue.upload_room = 2
    queue.submit(0, 100, 0.0)
    assert len(queue.take(0.0)) == 2
    queue.submit(1, 5, 0.0)
    assert [client for client, _ in taken(queue)] == [1] * 5
    queue.disconnect(1)
    assert len(queue.take(0.0)) == 8


def test_who_comes_late_or_back_gets_no_more_than_the_others() -> None:
    """Time at which a client wanted nothing is not made up for: it takes turns from where the others are."""
    queue = queue_of(LIVE, LIVE, max_batch=3)
    for _ in range(10):
        queue.submit(0, 3, 0.0)
        queue.take(0.0)
    queue.connect(2, LIVE)
    for client in range(3):
        queue.submit(client, 3, 0.0)
    assert [sorted(client for client, _ in taken(queue)) for _ in range(3)] == [[0, 1, 2]] * 3


def test_nobody_is_waited_for_in_vain() -> None:
    """A client that is alone, and a batch that is full beside a client that is idle, are due at once."""
    alone = queue_of(LIVE)
    alone.submit(0, 1, 5.0)
    assert alone.due_at() == float("-inf")
    beside = queue_of(LIVE, LIVE, max_batch=4)
    beside.submit(0, 4, 5.0)
    assert beside.due_at() == float("-inf")
