"""A chat log played through SDK clients reaches every reader once and in order, also while the server is killed."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from posthouse.client import Runtime
from posthouse.kit.tasks import start
from posthouse.load.backend import Backend
from posthouse.load.irc import Act, Day, read
from posthouse.load.replay import Options, Replay, load
from posthouse.load.report import Report
from posthouse.load.sample import chat_log
from posthouse.model.entry import MESSAGE, Entry
from posthouse.testing.postgres import LocalPostgres, fresh_database
from posthouse.testing.servers import LocalServer

KILLS = 3
JITTER_S = 0.5


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    with LocalPostgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    """A server in a process of its own, on each engine."""
    if request.param == "sqlite":
        with LocalServer() as server:
            yield server
    else:
        with fresh_database(request.getfixturevalue("postgres")) as url, LocalServer(database=url) as server:
            yield server


def replay_on(server: LocalServer, days: list[Day], runtime: Runtime, window: int = 256) -> Replay:
    options = Options(server.url, server.secrets.api_key, "test-", window=window, reconnect_jitter_s=JITTER_S)
    return Replay(days, options, runtime)


def line_of(nick: str, text: str, at: str = "00:00") -> bytes:
    """A message in a log."""
    return msgspec.json.encode({"at": f"2020-01-01T{at}:00Z", "kind": "message", "nick": nick, "text": text})


async def played(server: LocalServer, days: list[Day]) -> Report:
    async with Runtime() as runtime:
        return await replay_on(server, days, runtime).run()


def check(report: Report, days: list[Day]) -> None:
    """Everything in the log was played, acknowledged, and delivered as promised."""
    said = [step.act for day in days for step in day.steps]
    assert report.holds, report
    assert (report.lost, report.duplicated, report.reordered, report.contradicted) == (0, 0, 0, 0)
    assert (report.messages, report.acked) == (said.count(Act.MESSAGE), said.count(Act.MESSAGE))
    assert (report.actions, report.joins) == (said.count(Act.ACTION), said.count(Act.JOIN))
    assert (report.leaves, report.days) == (said.count(Act.LEAVE), len(days))
    assert report.deliveries > report.messages


async def test_a_made_up_log_with_joins_leaves_and_renames_reaches_every_reader(server: LocalServer) -> None:
    days = list(read(chat_log(random.Random(1), days=3, nicks=12, lines_per_day=200)))
    check(await played(server, days), days)


async def test_real_days_reach_every_reader(server: LocalServer, irc_log: Path) -> None:
    days = load(irc_log, 2)
    check(await played(server, days), days)


async def test_nothing_is_lost_doubled_or_reordered_while_the_server_is_killed(
    server: LocalServer, irc_log: Path
) -> None:
    await play_and_kill(server, load(irc_log, 2))


async def test_a_made_up_log_is_played_whole_while_the_server_is_killed(server: LocalServer) -> None:
    """The real one is not everywhere."""
    days = list(read(chat_log(random.Random(2), days=2, nicks=6, lines_per_day=100)))
    await play_and_kill(server, days, window=8)


async def play_and_kill(server: LocalServer, days: list[Day], window: int = 256) -> None:
    """A small `window` keeps a short log going until the last kill."""
    async with Runtime() as runtime:
        replay = replay_on(server, days, runtime, window)
        playing = start(replay.run())
        total = sum(step.act is Act.MESSAGE for day in days for step in day.steps)
        for number in range(1, KILLS + 1):
            await wait_acked(replay, playing, total * number // (KILLS + 1))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        check(await playing, days)


async def wait_acked(replay: Replay, playing: asyncio.Task[Report], messages: int) -> None:
    """Until so many messages are acknowledged; the play must still be on then."""
    while replay.report.acked < messages:
        assert not playing.done()
        await asyncio.sleep(0.01)
    assert not playing.done()


async def test_a_server_that_forgets_what_it_acknowledged_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Backend.log

    async def forgetful(backend: Backend, conv: str) -> list[Entry]:
        entries = await whole(backend, conv)
        assert entries[-1].kind == MESSAGE
        return entries[:-1]

    monkeypatch.setattr(Backend, "log", forgetful)
    days = list(read([line_of("ann", "hi"), line_of("bob", "there")]))
    with LocalServer() as server:
        report = await played(server, days)
    assert not report.holds
    assert report.contradicted > 0
    assert report.breaches[0].promise == "G1"


async def test_a_log_can_be_played_at_a_multiple_of_real_time() -> None:
    days = list(read([line_of("ann", "hi"), line_of("bob", "there", "00:10")]))
    with LocalServer() as server:
        async with Runtime() as runtime:
            options = Options(server.url, server.secrets.api_key, "test-", speed=1200.0)
            report = await Replay(days, options, runtime).run()
    check(report, days)
    assert report.seconds >= 0.5
