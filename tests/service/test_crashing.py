"""A server killed in mid-sentence: what it acknowledged is kept under its numbers, and repeating settles the rest."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from posthouse.kit.tasks import start
from posthouse.protocol.codes import Code
from posthouse.testing.servers import LocalServer
from tests.service.site import Line, Site, site_of
from tests.service.test_stopping import has_acks, whole_log

KILLS = 2
SETTINGS = {"limits.sends_per_user_per_s": 1e6, "limits.sends_per_user_burst": 1e6}


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[LocalServer]:
    with LocalServer(tmp_path, database=database, settings=SETTINGS) as server:
        yield server


class Sender:
    """Sends names in order, pipelined, and after each loss of the connection all that are not settled again."""

    def __init__(self, site: Site, user: str, conv: str, count: int) -> None:
        self.site = site
        self.user = user
        self.conv = conv
        self.waiting = [f"{user}-{number}" for number in range(count)]
        self.names = list(self.waiting)
        self.made_at = 0
        self.acked: dict[str, set[int]] = {}

    async def run(self) -> None:
        while self.waiting:
            with suppress(AssertionError, OSError, TimeoutError):
                await self._session()
            await asyncio.sleep(0.05)

    async def _session(self) -> None:
        line = await self.site.enter(self.user)
        self.made_at = self.made_at or line.welcome["at_ms"]
        try:
            for number, name in enumerate(self.waiting):
                await line.post(self.conv, name, made_at=self.made_at)
                await line.until(partial(has_acks, line, number - 10))
            await line.until(partial(has_acks, line, len(self.waiting) - 1))
        finally:
            for ack in line.all("ack"):
                self.acked.setdefault(ack["client_id"], set()).add(ack["seq"])
            self.waiting = [name for name in self.waiting if name not in self.acked]


async def test_killed_again_and_again_nothing_is_lost_doubled_or_reordered(server: LocalServer) -> None:
    """G1, G2, G3: two talk, a third listens, and each send is repeated until it is settled."""
    async with site_of(server) as site:
        conv = await site.group("ann", "ben", "cyd")
        senders = [Sender(site, user, conv, 400) for user in ("ann", "ben")]
        talking = [start(sender.run()) for sender in senders]
        for _ in range(KILLS):
            line = await entered(site, "cyd")
            await line.until(lambda line=line: len(line.seqs(conv)) > 50)  # type: ignore[misc]
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await asyncio.gather(*talking)
        log = await whole_log(await entered(site, "cyd"), conv)
        assert [entry["seq"] for entry in log] == list(range(2, 802))
        for sender in senders:
            own = {entry["client_id"]: entry["seq"] for entry in log if entry["sender"] == sender.user}
            assert list(own) == sender.names, "in the order sent, each once"
            assert {name: {seq} for name, seq in own.items()} == sender.acked, "every answer is the same"


async def test_sends_repeated_after_a_kill_get_the_numbers_they_had(server: LocalServer) -> None:
    """G2, also days later, as far as a test can wait."""
    async with site_of(server) as site:
        conv = await site.group("ann")
        ann = await site.enter("ann")
        made_at = ann.welcome["at_ms"]
        first = [await ann.send(conv, f"k{number}", made_at=made_at) for number in range(5)]
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        again = await site.enter("ann")
        assert [await again.send(conv, f"k{number}", made_at=made_at) for number in range(5)] == first


async def test_a_resume_after_a_kill_is_whole(server: LocalServer) -> None:
    """The keys of resume tokens outlive the process."""
    async with site_of(server) as site:
        conv = await site.group("ann", "ben")
        ann, ben = await site.enter("ann"), await site.enter("ben")
        await ben.send(conv, "missed")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        again = await site.back(ann, "ann", {"~ann": 1, conv: 1})
        assert (again.welcome["resumed"], again.welcome["changed"]) == (True, {conv: 2})


async def test_memberships_written_just_before_a_kill_reach_the_lists(server: LocalServer) -> None:
    """The roster goes on where it was: the conversation is in each list, once."""
    async with site_of(server) as site:
        made = await site.rest(
            "POST", "/v1/conversations", {"kind": "group", "members": [f"u{n}" for n in range(500)]}
        )
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        for user in ("u0", "u250", "u499"):
            await site.listed(user, made.body["conv"])
            log = (await (await site.enter(user)).ask(t="fetch", conv=f"~{user}", after=0))["entries"]
            assert [entry["kind"] for entry in log] == ["conversation.joined"]


async def test_asked_to_end_it_says_goodbye_and_ends_well(server: LocalServer) -> None:
    async with site_of(server) as site:
        conv = await site.group("ann")
        ann = await site.enter("ann")
        for number in range(20):
            await ann.post(conv, f"m{number}")
        process = server._server
        await asyncio.to_thread(server.stop)
        assert await ann.end() == Code.NODE_STOPPING
        assert process is not None
        assert process.returncode == 0
        assert "Traceback" not in server.log_tail(200)


async def entered(site: Site, user: str, **fields: Any) -> Line:
    """A live session, as soon as there is a server again."""
    async with asyncio.timeout(30):
        while True:
            with suppress(OSError, AssertionError):
                return await site.enter(user, **fields)
            await asyncio.sleep(0.05)
