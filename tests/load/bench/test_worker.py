"""A worker does what it is told in a process of its own, and ends with its benchmark."""

import asyncio
import os

import psutil
import pytest

from posthouse.load.bench.worker import Worker, WorkerFailed, call_all


class Echo:
    """What the tests' workers do."""

    async def pid(self) -> int:
        return os.getpid()

    async def repeat(self, text: str, times: int) -> str:
        await asyncio.sleep(0)
        return text * times

    async def stumble(self) -> None:
        raise SystemExit(3)

    async def close(self) -> None:
        await asyncio.sleep(0)


ECHO = f"{__name__}:Echo"


async def test_a_worker_answers_from_a_process_of_its_own() -> None:
    async with Worker(ECHO) as worker:
        assert await worker.call("pid") == worker.pid != os.getpid()
        assert await worker.call("repeat", text="né\n", times=100_000) == "né\n" * 100_000


async def test_several_workers_work_at_once_and_answer_in_order() -> None:
    async with Worker(ECHO) as first, Worker(ECHO) as second:
        assert await call_all([first, second], "pid") == [first.pid, second.pid]


async def test_a_worker_ends_with_its_benchmark() -> None:
    async with Worker(ECHO) as worker:
        await worker.call("pid")
    assert not psutil.pid_exists(worker.pid)


async def test_a_worker_that_fails_says_so() -> None:
    async with Worker(ECHO) as worker:
        with pytest.raises(WorkerFailed, match="ended during stumble"):
            await worker.call("stumble")
