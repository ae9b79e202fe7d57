"""The small programs of the bench's table of whole processes, with asyncio.TaskGroup.

python3 asyncio_works.py NAME N does one of them once. The other side is src/works/process/ours.rs.
"""

import asyncio
import sys

LONG = 3600
BRANCHES = 100


async def child(number):
    return number


class Sleepers:
    def __init__(self):
        self.asleep = 0

    async def sleep(self):
        self.asleep += 1
        await asyncio.sleep(LONG)

    async def all_asleep(self, n):
        while self.asleep < n:
            await asyncio.sleep(0)


async def process_empty(n):
    async with asyncio.TaskGroup():
        pass


async def process_spawn_join(n):
    async with asyncio.TaskGroup() as group:
        for number in range(n):
            group.create_task(child(number))


async def process_first_failure(n):
    sleepers = Sleepers()

    async def failing():
        await sleepers.all_asleep(n)
        raise RuntimeError("failed, as it should")

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(n):
                group.create_task(sleepers.sleep())
            group.create_task(failing())
    except* RuntimeError as errors:
        assert len(errors.exceptions) == 1
    else:
        raise AssertionError("one child fails")


async def process_cancel_all(n):
    sleepers = Sleepers()

    async def body():
        async with asyncio.TaskGroup() as group:
            for _ in range(n):
                group.create_task(sleepers.sleep())

    # A group has no cancel of its own: whoever wants it ended cancels the task it is in.
    task = asyncio.create_task(body())
    await sleepers.all_asleep(n)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError("it was cancelled")


async def process_nested(n):
    async def twig():
        async with asyncio.TaskGroup() as group:
            for number in range(n // (BRANCHES * BRANCHES)):
                group.create_task(child(number))

    async def branch():
        async with asyncio.TaskGroup() as group:
            for _ in range(BRANCHES):
                group.create_task(twig())

    async with asyncio.TaskGroup() as group:
        for _ in range(BRANCHES):
            group.create_task(branch())


async def process_timeout(n):
    async def timeouts():
        for _ in range(n):
            async with asyncio.timeout(LONG):
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(timeouts())


PROGRAMS = [
    process_empty,
    process_spawn_join,
    process_first_failure,
    process_cancel_all,
    process_nested,
    process_timeout,
]

if __name__ == "__main__":
    name, n = sys.argv[1:]
    programs = {program.__name__: program for program in PROGRAMS}
    asyncio.run(programs[name](int(n)))
