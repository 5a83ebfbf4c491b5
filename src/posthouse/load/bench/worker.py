"""Processes that make load beside the server: one object each, whose async methods the benchmark calls one at a time.

Calls and answers are lines of JSON over pipes. A worker ends when its pipe closes, so none outlives its benchmark; an
error of a method ends it with a traceback on standard error.
"""

import asyncio
import gc
import sys
from importlib import import_module
from typing import Any, Self

import msgspec
import uvloop

from posthouse.kit.descriptors import raise_limit

LINE_BYTES_MAX = 1 << 28
STOP_TIMEOUT_S = 10.0


class WorkerFailed(RuntimeError):
    """The process ended; its traceback is on standard error."""


class Call(msgspec.Struct):
    """What to do."""

    method: str
    arguments: dict[str, Any]


class Worker:
    """The benchmark's end. `subject` names a class without arguments that has a `close`: `package.module:Class`."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            self._subject,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        stdin = _pipes(self._process)[1]
        stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def call(self, method: str, **arguments: Any) -> Any:
        """Call a method in the process and await what it returns, as JSON has it. Raises `WorkerFailed`."""
        stdout, stdin = _pipes(self._process)
        stdin.write(msgspec.json.encode(Call(method, arguments)) + b"\n")
        answer = await stdout.readline()
        if not answer:
            raise WorkerFailed(f"{self._subject} ended during {method}")
        return msgspec.json.decode(answer)


async def call_all(workers: list[Worker], method: str, **arguments: Any) -> list[Any]:
    """Call a method in all workers at the same time; their answers in order."""
    return await asyncio.gather(*(worker.call(method, **arguments) for worker in workers))


async def serve(subject: str) -> None:
    """The process's end: answer calls until the pipe closes."""
    raise_limit()
    gc.set_threshold(
        100_000, 50, 1_000
    )  # thousands of clients in one process: looking through them all is dear
    module, _, name = subject.partition(":")
    target = getattr(import_module(module), name)()
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        call = msgspec.json.decode(line, type=Call)
        answer = await getattr(target, call.method)(**call.arguments)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()
    await target.close()


def _pipes(process: asyncio.subprocess.Process) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdout, process.stdin


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
