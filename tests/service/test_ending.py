"""What is left of sessions that have ended: nothing, at once."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from posthouse.gateway.session import Session
from tests.service.site import Site

LEAVER = "somebody-who-leaves"


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def held() -> int:
    """Sessions of the leaver, ended ones too; each holds its socket."""
    return sum(isinstance(each, Session) and each.user == LEAVER for each in gc.get_objects())


@pytest.mark.usefixtures("no_collection")
async def test_sessions_that_have_ended_need_no_garbage_collection(site: Site) -> None:
    """However they end: in a busy hour thousands do."""
    conv = await site.group(LEAVER, "ben")
    for ends_well in (True, False):
        line = await site.enter(LEAVER)
        await line.send(conv, f"ends well: {ends_well}")
        assert held() == 1
        if ends_well:
            await line.close()
        else:
            line.socket.transport.abort()
        async with asyncio.timeout(10):
            while held():  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0.05)
