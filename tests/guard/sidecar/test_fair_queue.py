"""A queue that is fair: one at a time, senders in turn, and no turn lost with who goes away."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from guard.sidecar.fair_queue import FairQueue

SENDERS = st.lists(st.sampled_from("abc"), min_size=1, max_size=20)
SIZED = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=20)


def _fair(senders: list[tuple[str, int]]) -> list[int]:
    """Return who comes when, by number: the first at once, then a turn for each sender that waits, round and round.

    Of one sender's the first of the shortest comes, then the first, and so on by turns.
    """
    order, left = [0], list(enumerate(senders))[1:]
    names = list(dict.fromkeys(name for _, (name, _) in left))
    given = dict.fromkeys(names, 0)
    while left:
        name = names.pop(0)
        mine = [(size, number) for number, (sender, size) in left if sender == name]
        _, chosen = min(mine) if given[name] % 2 == 0 else mine[0]
        given[name] += 1
        order.append(chosen)
        left = [one for one in left if one[0] != chosen]
        names += [name] if mine[1:] else []
    return order


@given(SIZED)
def test_senders_come_in_turn_and_one_at_a_time(senders: list[tuple[str, int]]) -> None:
    async def main() -> None:
        queue, order, inside = FairQueue(), [], 0

        async def one(number: int, sender: str, size: int) -> None:
            nonlocal inside
            async with queue.turn(sender, size):
                inside += 1
                assert inside == 1
                order.append(number)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(one(number, *sender) for number, sender in enumerate(senders)))
        assert order == _fair(senders)

    asyncio.run(main())


@given(SENDERS, st.data())
def test_no_turn_is_lost_with_who_goes_away(senders: list[str], data: st.DataObject) -> None:
    """Tasks are cancelled at any time: before their turn, as it is given, and in the middle of it."""
    moments = data.draw(st.lists(st.none() | st.integers(0, 12), min_size=len(senders), max_size=len(senders)))

    async def main() -> None:
        queue, done = FairQueue(), 0

        async def one(sender: str) -> None:
            nonlocal done
            async with queue.turn(sender):
                await asyncio.sleep(0)
            done += 1

        tasks = [asyncio.create_task(one(sender)) for sender in senders]
        for moment in range(13):
            for task, when in zip(tasks, moments, strict=True):
                if when == moment:
                    task.cancel()
            await asyncio.sleep(0)
        found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert done == sum(one is None for one in found)
        async with asyncio.timeout(1), queue.turn("another"):
            pass

    asyncio.run(main())
