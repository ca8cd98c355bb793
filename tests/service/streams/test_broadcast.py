"""One ring, many readers: each gets everything, or is told how much it missed."""

import asyncio
import threading

from service.streams.broadcast import Broadcast


def run(test) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test(asyncio.get_running_loop())

    asyncio.run(bounded())


async def take(follower, count: int) -> tuple[int, list[int]]:
    """The first ``count`` items, and how many were missed on the way."""
    missed, found = 0, []
    async for some_missed, items in follower:
        missed += some_missed
        found += items
        if len(found) >= count:
            break
    await follower.aclose()
    return missed, found


def test_followers_get_everything_from_their_first_moment_on() -> None:
    async def test(loop) -> None:
        broadcast: Broadcast[int] = Broadcast(loop, 100)
        broadcast.publish(-1)
        first = broadcast.follow()
        broadcast.publish(0)  # before the follower begins to read, but after it asked
        publisher = threading.Thread(target=lambda: [broadcast.publish(n) for n in range(1, 50)])
        publisher.start()
        assert await take(first, 50) == (0, list(range(50)))
        publisher.join()

    run(test)


def test_a_slow_follower_is_told_what_it_missed() -> None:
    async def test(loop) -> None:
        broadcast: Broadcast[int] = Broadcast(loop, 8)
        slow = broadcast.follow()
        for n in range(20):
            broadcast.publish(n)
        assert await take(slow, 8) == (12, list(range(12, 20)))

    run(test)


def test_followers_are_counted_and_end_with_the_broadcast() -> None:
    async def test(loop) -> None:
        counts: list[int] = []
        broadcast: Broadcast[int] = Broadcast(loop, 8, counts.append)

        async def read() -> list[int]:
            return [item async for _, items in broadcast.follow() for item in items]

        readers = [asyncio.create_task(read()) for _ in range(3)]
        await asyncio.sleep(0)
        broadcast.publish(7)
        broadcast.close()
        assert await asyncio.gather(*readers) == [[7]] * 3
        assert counts == [1, 2, 3, 2, 1, 0]

    run(test)


def test_what_is_too_old_is_not_shown_to_new_followers() -> None:
    async def test(loop) -> None:
        broadcast: Broadcast[int] = Broadcast(loop, 1)
        broadcast.publish(1)
        assert broadcast.newest == 1
        broadcast.forget()
        assert broadcast.newest is None
        follower = broadcast.follow()
        broadcast.publish(2)
        assert await take(follower, 1) == (0, [2])

    run(test)
