"""The feed of one subscriber, without a server: what was logged before, and what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.database import Database
from service.event_log import SCHEMA, EventLog, EventQuery
from service.feed import BATCH, Feed, Gap
from tests.service.test_event_log import message

PATIENCE = 30.0


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with Database(tmp_path / "log.db", SCHEMA) as database:
        yield EventLog(database)


async def heard(feed: Feed, count: int, after: int = 0) -> list[int | Gap]:
    """The positions, and gaps, that a subscriber is told until there are ``count``."""
    told: list[int | Gap] = []
    following = feed.follow(EventQuery(after=after))
    while len(told) < count:
        news = await asyncio.wait_for(anext(following), PATIENCE)
        told += [news] if isinstance(news, Gap) else [one.position for one in news]
    await following.aclose()  # type: ignore[attr-defined]
    return told


def append(log: EventLog, numbers: range) -> None:
    log.append([message("door", number) for number in numbers], model="m").result()


def test_who_is_far_behind_hears_all_of_it_page_by_page(log: EventLog) -> None:
    """More than a page was logged before the service began: nothing is passed over, and no gap is told."""
    append(log, range(3 * BATCH + 8))

    async def follow() -> list[int | Gap]:
        async with Feed(log) as feed:
            return await heard(feed, 3 * BATCH + 8)

    assert asyncio.run(follow()) == list(range(1, 3 * BATCH + 9))


def test_what_the_ring_holds_is_not_looked_up(log: EventLog) -> None:
    """The log is asked only for what the ring has lost, not for the first that it still has."""

    async def follow() -> list[int]:
        async with Feed(log, ring_size=3) as feed:
            append(log, range(5))
            assert await heard(feed, 3, after=2) == [3, 4, 5]
            catch_ups = [feed.catch_ups]
            assert await heard(feed, 4, after=1) == [2, 3, 4, 5]
            return [*catch_ups, feed.catch_ups]

    assert asyncio.run(follow()) == [0, 1]
