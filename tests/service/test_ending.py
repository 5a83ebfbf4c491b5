"""What is left of sessions that have ended: nothing, at once."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from posthouse.testing.census import census
from tests.service.site import Site

OF_A_SESSION = ("gateway.session:Session", "gateway.websocket:Socket", "gateway.wire:Reader")


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def held() -> dict[str, int]:
    objects = census().objects
    return {name: objects.get(name, 0) for name in OF_A_SESSION}


@pytest.mark.usefixtures("no_collection")
async def test_sessions_that_have_ended_need_no_garbage_collection(site: Site) -> None:
    """However they end: in a busy hour thousands do."""
    conv = await site.group("ann", "ben")
    before = held()
    for ends_well in (True, False):
        line = await site.enter("ann")
        await line.send(conv, f"ends well: {ends_well}")
        if ends_well:
            await line.close()
        else:
            line.socket.transport.abort()
    async with asyncio.timeout(10):
        while held() != before:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.05)
