"""Inputs that wait are answered together; what fails is told to whom it concerns."""

import asyncio
import threading

import pytest

from zoo.serving.batching import Batcher, Busy


def run(work):
    return asyncio.run(asyncio.wait_for(work, 20))


def test_what_comes_meanwhile_is_the_next_batch() -> None:
    sizes, go = [], threading.Event()

    def answer(items):
        sizes.append(len(items))
        go.wait(10)
        return [item * 2 for item in items]

    async def ask():
        batcher = Batcher(answer, most=5)
        asked = [asyncio.create_task(batcher(i)) for i in range(8)]
        await asyncio.sleep(0.1)
        go.set()
        return await asyncio.gather(*asked)

    assert run(ask()) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert sizes == [5, 3]


def test_errors_go_to_their_input_or_to_all() -> None:
    async def ask(answer):
        batcher = Batcher(answer)
        return await asyncio.gather(batcher(1), batcher(2), return_exceptions=True)

    one, two = run(ask(lambda items: [ValueError("of it") if item == 1 else item for item in items]))
    assert isinstance(one, ValueError)
    assert two == 2

    def fails(items):
        raise OSError("of all")

    assert [type(one) for one in run(ask(fails))] == [OSError, OSError]
    assert [type(one) for one in run(ask(lambda items: [1]))] == [RuntimeError, RuntimeError]


def test_too_many_are_told_to_come_again() -> None:
    go = threading.Event()

    async def ask():
        batcher = Batcher(lambda items: [go.wait(10)] * len(items), most=1, waiting=2)
        asked = [asyncio.create_task(batcher(i)) for i in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises(Busy):
            for i in range(3):
                asked.append(asyncio.create_task(batcher(i)))
                await asyncio.sleep(0)
                await batcher(i)
        others = [asyncio.create_task(batcher.alone(go.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await batcher.alone(go.wait, 10)
        go.set()
        await asyncio.gather(*asked, *others, return_exceptions=True)
        batcher.close()

    run(ask())
