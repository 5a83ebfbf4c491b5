"""A server that stands still for a while, and goes on: SIGSTOP and SIGCONT."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.messaging.vigil import DOUBT_S, LOOK_INTERVAL_S, STALL_S
from posthouse.protocol.codes import Code
from posthouse.testing.servers import LocalServer
from tests.service.site import site_of
from tests.service.test_stopping import whole_log


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    with LocalServer(tmp_path) as server:
        yield server


async def test_what_was_sent_to_a_frozen_server_is_refused_for_now_and_taken_when_it_is_repeated(
    server: LocalServer,
) -> None:
    """Whoever sent it may have gone to another node meanwhile, and been refused it there for good (G3, P-8.9)."""
    async with site_of(server) as site:
        conv = await site.group("ann", "ben")
        ann = await site.enter("ann")
        await ann.send(conv, "before")
        server.freeze()
        for client_id in ("first", "second"):
            await ann.post(conv, client_id)
        await asyncio.sleep(LOOK_INTERVAL_S + STALL_S + 0.5)
        server.thaw()
        await ann.until(lambda: ann.answers("first") and ann.answers("second"))
        codes = [ann.answers(client_id)[0].get("code") for client_id in ("first", "second")]
        assert codes == [Code.BUSY, Code.HELD_BACK]
        await asyncio.sleep(DOUBT_S + LOOK_INTERVAL_S)
        for client_id in ("first", "second"):
            assert (await ann.send(conv, client_id))["t"] == "ack"
        said = [entry["client_id"] for entry in await whole_log(ann, conv)]
        assert said == ["before", "first", "second"]
