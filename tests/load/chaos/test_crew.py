"""The clients of a chaos run, on a single server: they talk, come back when cut off, and notice what is forged."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import msgspec
import pytest

from posthouse.client import Client, Runtime
from posthouse.kit.clock import SystemClock
from posthouse.load.backend import Backend
from posthouse.load.bench.passes import Passes
from posthouse.load.bench.stamp import stamped
from posthouse.load.chaos.crew import Crew
from posthouse.model.entry import MESSAGE, Entry
from posthouse.testing.servers import LocalServer

USERS = [f"user-{number}" for number in range(6)]
CONVS = {user: ["tea", "biscuits"] for user in USERS}


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as server:
        yield server


@pytest.fixture
async def crew(server: LocalServer) -> AsyncIterator[Crew]:
    async with Runtime() as runtime:
        backend = Backend(server.url, server.secrets.api_key, runtime)
        for conv in CONVS["user-0"]:
            await backend.create_group(conv, USERS)
    crew = Crew()
    await crew.enter(server.url, str(server.data), CONVS)
    yield crew
    await crew.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - what happens in the clients sets no event here
            await asyncio.sleep(0.05)


async def delivered(crew: Crew) -> int:
    return sum(second.delivered for second in (await crew.seconds()).values())


async def test_they_are_all_back_after_a_cut_and_nothing_is_lost(crew: Crew, server: LocalServer) -> None:
    await crew.talk(100)

    async def more(than: int) -> bool:
        return await delivered(crew) > than

    async def all_back() -> bool:
        return (await crew.standing()).connected == len(USERS)

    await until(lambda: more(200))
    await crew.watch()
    assert await crew.cut_off() == len(USERS)
    await until(all_back)
    standing = await crew.standing()
    assert standing.moved == dict.fromkeys(USERS, 1)
    seen = await delivered(crew)
    await until(lambda: more(seen + 200))
    assert await crew.hush(20) == 0
    verdict = await crew.judge(server.url, server.secrets.api_key)
    assert verdict.holds, verdict
    assert verdict.acked == verdict.sent == sum(second.acked for second in (await crew.seconds()).values())
    assert (await crew.standing()).failed == 0
    assert all(0 < back <= 20 for back in await crew.back(standing.last_connected_at - 20, 99.0))
    since = standing.last_connected_at
    for convs in (None, ["tea"]):
        pauses = await crew.pauses(since - 1, since, convs)
        assert len(pauses) == len(USERS)
        assert all(0 < pause <= 1 for pause in pauses)


async def test_they_notice_words_that_were_exchanged_and_words_that_none_of_them_sent(
    crew: Crew, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reworded = Backend.log, list[str]()

    async def read_another(backend: Backend, conv: str) -> list[Entry]:
        log = await read(backend, conv)
        said = [at for at, entry in enumerate(log) if entry.kind == MESSAGE and entry.device == "crew"]
        for at in said[:1]:  # chance may leave a conversation silent
            reworded.append(conv)
            log[at] = msgspec.structs.replace(log[at], body=msgspec.Raw(b'{"text":"other words"}'))
        return log

    await crew.talk(100)
    token = Passes(server.data, SystemClock()).token("user-0")
    async with Client(server.url, token=token, device="desk") as stranger:
        forged = await stranger.send("tea", stamped(0.0))
    assert await crew.hush(20) == 0
    monkeypatch.setattr(Backend, "log", read_another)
    verdict = await crew.judge(server.url, server.secrets.api_key)
    reasons = [breach.reason for breach in verdict.breaches if breach.promise == "G2"]
    assert sum("other words" in reason for reason in reasons) == len(reworded) > 0
    assert [breach.seq for breach in verdict.breaches if "never sent" in breach.reason] == [forged.seq]


async def test_messages_that_are_posted_late_are_noticed(crew: Crew) -> None:
    async def some() -> bool:
        return await delivered(crew) > 0

    await crew.talk(50)
    await until(some)
    await crew.watch()
    enough = time.monotonic() + 0.4
    while time.monotonic() < enough:  # as where others use up the machine
        pass
    await asyncio.sleep(0.05)
    assert (await crew.standing()).late_s > 0.3
