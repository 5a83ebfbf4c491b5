"""The back end under load makes groups of any size, and waits for a server that is away."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from posthouse.client import RequestFailed, RequestRefused, Runtime
from posthouse.kit.tasks import start
from posthouse.load.backend import ENTRIES_PER_REQUEST, USERS_PER_REQUEST, Backend
from posthouse.protocol.codes import Code
from posthouse.testing.servers import LocalServer


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


@pytest.fixture
async def backend(server: LocalServer) -> AsyncIterator[Backend]:
    async with Runtime() as runtime:
        yield Backend(server.url, server.secrets.api_key, runtime)


async def test_a_group_may_have_more_first_members_than_one_request_takes(backend: Backend) -> None:
    users = [f"user-{number}" for number in range(USERS_PER_REQUEST + 200)]
    await backend.create_group("large", users)
    log = await backend.log("large")
    assert [entry.kind for entry in log] == ["conversation.created", "member.joined"]


async def test_a_log_is_read_whole_however_long(backend: Backend) -> None:
    await backend.create_group("long", ["ann"])
    for number in range(ENTRIES_PER_REQUEST // 2 + 1):
        assert await backend.add("long", [f"|né| {number}"]) == 2 * number + 2
        assert await backend.remove("long", f"|né| {number}") == 2 * number + 3
    log = await backend.log("long")
    assert [entry.seq for entry in log] == list(range(1, ENTRIES_PER_REQUEST + 4))


async def test_what_is_refused_for_good_is_not_asked_again(server: LocalServer, backend: Backend) -> None:
    with pytest.raises(RequestRefused):
        await backend.add("nowhere", ["ann"])
    async with Runtime() as runtime:
        with pytest.raises(RequestRefused):
            await Backend(server.url, "ph_wrong", runtime).token("ann")


async def test_a_key_is_checked_with_one_request(server: LocalServer, backend: Backend) -> None:
    await backend.check_key()
    async with Runtime() as runtime:
        with pytest.raises(RequestRefused) as refused:
            await Backend(server.url, "ph_wrong", runtime).check_key()
        assert refused.value.code == Code.UNAUTHORIZED
        with pytest.raises(RequestFailed):
            await Backend("http://127.0.0.1:1", "ph_wrong", runtime).check_key()


async def test_a_request_waits_for_a_server_that_was_killed(server: LocalServer, backend: Backend) -> None:
    await asyncio.to_thread(server.kill)
    asking = start(backend.token("ann"))
    await asyncio.sleep(0.05)
    assert not asking.done()
    await asyncio.to_thread(server.start)
    assert (await asking).count(".") == 2


async def test_a_metric_is_read_by_its_name(backend: Backend) -> None:
    assert await backend.metric("posthouse_ready") == 1.0
    with pytest.raises(KeyError):
        await backend.metric("posthouse_rea")
