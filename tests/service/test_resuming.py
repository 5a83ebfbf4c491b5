"""Coming back: a resume is whole or says reset, and nothing is lost, doubled or reordered on the way."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest

from posthouse.app.config.values import Limits
from posthouse.kit.tasks import start
from posthouse.protocol.codes import Code
from tests.service.site import Line, Site, serving

SENDS_PER_S = 200.0


async def change_epoch(database: str, folder: Path, epoch: str) -> None:
    """What a restore from a backup does."""
    if database == "sqlite":
        connection = apsw.Connection(str(folder / "posthouse.sqlite"))
        connection.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (epoch,))
        connection.close()
    else:
        postgres = await asyncpg.connect(database)
        try:
            await postgres.execute("UPDATE meta SET epoch = $1", epoch)
        finally:
            postgres.terminate()


async def test_a_resume_is_whole(site: Site) -> None:
    """P-10.4."""
    busy, quiet, new = await site.group("ann", "ben"), await site.group("ann", "ben"), "made-meanwhile"
    ann, ben = await site.enter("ann"), await site.enter("ben")
    await ben.send(busy, "heard")
    await ann.caught_up(busy, 2)
    await ann.close()
    for number in range(3):
        await ben.send(busy, f"missed {number}")
    await site.group("ann", "ben", conv=new)
    again = await site.back(ann, "ann", {"~ann": 2, busy: 2, quiet: 1})
    welcome = again.welcome
    assert (welcome["resumed"], welcome.get("reset", 0)) == (True, 0)
    assert welcome["changed"] == {busy: 5, new: 1, "~ann": 3}
    page = await again.ask(t="fetch", conv=busy, after=2)
    assert [entry["body"]["text"] for entry in page["entries"]] == [f"missed {number}" for number in range(3)]
    await ben.send(busy, "live")
    assert await again.caught_up(busy, 6) == [6]


async def test_a_resume_that_missed_nothing_names_nothing(site: Site) -> None:
    conv = await site.group("ann")
    ann = await site.enter("ann")
    await ann.close()
    again = await site.back(ann, "ann", {"~ann": 1, conv: 1})
    assert (again.welcome["resumed"], again.welcome.get("changed", {})) == (True, {})


async def test_everything_is_delivered_while_devices_come_and_go(site: Site) -> None:
    """What welcome names, what is fetched and what is pushed make up the whole log, however they are timed."""
    conv = await site.group("ann", "ben")
    ben = await site.enter("ben")

    async def talk() -> None:
        for number in range(150):
            await ben.send(conv, f"m{number}")

    talking = start(talk())
    ann, applied, seen = await site.enter("ann"), 1, [1]
    while not talking.done() or applied < 151:
        again = await site.back(ann, "ann", {"~ann": 1, conv: applied})
        assert again.welcome["resumed"]
        if again.welcome.get("changed", {}).get(conv, 0) > applied:
            page = await again.ask(t="fetch", conv=conv, after=applied, limit=200)
            seen += [entry["seq"] for entry in page["entries"]]
        await again.quiet()
        seen += [seq for seq in again.seqs(conv) if seq > seen[-1]]
        assert seen == list(range(1, len(seen) + 1))
        ann, applied = again, seen[-1]
    await talking


@pytest.mark.parametrize("how", ["ended", "refused"])
async def test_a_resume_token_of_someone_else_opens_nothing(site: Site, how: str) -> None:
    """P-10.3: the session ends with a code that says to come without it; it is counted, and its owner goes on."""
    conv = await site.group("ann")
    ann, eve = await site.enter("ann"), await site.call()
    token = ann.welcome["resume_token"]
    if how == "refused":
        token = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    resume = {"token": token, "epoch": ann.welcome["epoch"], "positions": {conv: 0}}
    before = await site.coded(Code.RESUME_REFUSED)
    goaway = await eve.hello(site.token("eve"), resume=resume)
    assert (goaway["t"], goaway["code"], await eve.end()) == (
        "goaway",
        Code.RESUME_REFUSED,
        Code.RESUME_REFUSED,
    )
    assert await site.coded(Code.RESUME_REFUSED) == before + 1
    assert (await ann.send(conv))["t"] == "ack"


async def test_a_changed_epoch_resets(database: str, tmp_path: Path) -> None:
    """P-10.5: the log was restored from a backup; nobody goes on from positions of before."""
    async with serving(tmp_path, database) as site:
        conv = await site.group("ann")
        ann = await site.enter("ann")
        await ann.send(conv, "m")
        epoch = ann.welcome["epoch"]
    await change_epoch(database, tmp_path, "another")
    async with serving(tmp_path, database) as site:
        again = await site.back(ann, "ann", {"~ann": 1, conv: 2})
        welcome = again.welcome
        assert (welcome.get("resumed", False), welcome["reset"]) == (False, Code.EPOCH_CHANGED)
        assert welcome["epoch"] == "another" != epoch
        assert welcome.get("changed", {}) == {}
        once_more = await site.back(again, "ann", {"~ann": 1, conv: 2})
        assert once_more.welcome["resumed"]


async def test_positions_beyond_the_log_reset(site: Site) -> None:
    conv = await site.group("ann")
    ann = await site.enter("ann")
    again = await site.back(ann, "ann", {"~ann": 1, conv: 5})
    assert (again.welcome.get("resumed", False), again.welcome["reset"]) == (False, Code.EPOCH_CHANGED)


# Order ------------------------------------------------------------------------------------------------------------


async def test_order_is_kept_across_refusals_by_a_pipelining_client(database: str, tmp_path: Path) -> None:
    """G3, P-8.10: refused by the rate limit again and again, repeated from the first refused one on."""
    limits = Limits(sends_per_user_per_s=SENDS_PER_S, sends_per_user_burst=7.0)
    async with serving(tmp_path, database, limits) as site:
        conv = await site.group("ann", "ben")
        ann, ben = await site.enter("ann"), await site.enter("ben")
        names = [f"m{number}" for number in range(60)]
        refusals = await send_in_order(ann, conv, names)
        assert refusals > 5, "otherwise this test shows nothing"
        await ben.caught_up(conv, 61)
        assert [entry["client_id"] for entry in ben.entries(conv)] == names
        assert ben.seqs(conv) == list(range(2, 62))


async def send_in_order(line: Line, conv: str, names: list[str]) -> int:
    """Send everything at once; repeat what was refused, in order, until all is acknowledged. Returns refusals."""
    refusals = 0
    waiting = list(names)
    while waiting:
        before = {name: len(line.answers(name)) for name in waiting}
        for name in waiting:
            await line.post(conv, name, made_at=line.welcome["at_ms"])
        await line.until(partial(answered, line, waiting, before))
        last = {name: line.answers(name)[-1] for name in waiting}
        refused = [frame for frame in last.values() if frame["t"] == "error"]
        refusals += len(refused)
        assert {frame["code"] for frame in refused} <= {Code.RATE_LIMITED, Code.HELD_BACK}
        waiting = [name for name in waiting if last[name]["t"] == "error"]
        await asyncio.sleep(10 / SENDS_PER_S)
    return refusals


def answered(line: Line, names: list[str], before: dict[str, int]) -> bool:
    return all(len(line.answers(name)) > before[name] for name in names)


# Repeating --------------------------------------------------------------------------------------------------------


async def test_a_send_repeated_by_every_way_is_in_the_log_once(site: Site) -> None:
    """G2: over two connections, over HTTP with the same names, at once and later."""
    conv = await site.group("ann", "ben")
    ann, ben = await site.enter("ann", "phone"), await site.enter("ben")
    fields: dict[str, Any] = {"made_at": int(ann.welcome["at_ms"]), "body": {"text": "once"}}
    await ann.post(conv, "k", **fields)
    await ann.post(conv, "k", **fields)
    await ann.until(lambda: len(ann.answers("k")) == 2)
    again = await site.enter("ann", "phone")
    third = await again.send(conv, "k", **fields)
    assert {answer["seq"] for answer in (*ann.answers("k"), third)} == {2}
    other_device = await site.enter("ann", "tablet")
    assert (await other_device.send(conv, "k", **fields))["seq"] == 3, "another device names its own sends"
    assert (await again.send(conv, "k", made_at=fields["made_at"], body={"text": "other"}))[
        "code"
    ] == Code.CONFLICT
    await ben.caught_up(conv, 3)
    assert ben.seqs(conv) == [2, 3]


async def test_who_was_removed_still_learns_the_seq_of_what_they_sent_before(site: Site) -> None:
    """P-8.7."""
    conv = await site.group("ann", "ben")
    ben = await site.enter("ben")
    made_at = ben.welcome["at_ms"]
    first = await ben.send(conv, "k", made_at=made_at)
    await site.remove(conv, "ben")
    assert (await ben.send(conv, "k", made_at=made_at))["seq"] == first["seq"]
    assert (await ben.send(conv, "new", made_at=made_at))["code"] == Code.NOT_MEMBER


async def test_a_rest_request_repeated_with_its_key_is_carried_out_once(site: Site) -> None:
    """P-15.2."""
    conv = await site.group("ann", "ben")
    path = f"/v1/conversations/{conv}/entries"
    made_at = (await site.enter("ann")).welcome["at_ms"]
    body = {"body": {"text": "x"}, "sender": "ann", "made_at": made_at}
    replies = [(await site.rest("POST", path, body, key="name")).body for _ in range(3)]
    assert [reply["seq"] for reply in replies] == [2] * 3
    assert [reply.get("duplicate", False) for reply in replies] == [False, True, True]
