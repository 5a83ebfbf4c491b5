"""Requests: each is answered once by its number, and no session's flood takes more than one reader's place."""

import json

import pytest

from posthouse.gateway.limits import GatewayLimits
from posthouse.model.conversation import Kind, Role
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import Summary
from posthouse.storage.base import StorageCorrupt, StorageError, StorageUnavailable
from tests.gateway.hall import Guest, hall, settled

LONG_USER = "u" * 128


def refs(guest: Guest, kind: str) -> list[int]:
    return [frame["ref"] for frame in guest.heard(kind)]


async def test_a_fetch_is_answered_with_what_the_user_may_see() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.message("c")
        ann, eve = await it.enter("ann"), await it.enter("eve")
        for guest in (ann, eve):
            guest.say(t="fetch", ref=1, conv="c", after=0)
        await settled()
        (page,) = ann.heard("entries")
        assert [entry["seq"] for entry in page["entries"]] == [1, 2]
        assert eve.codes() == [Code.NOT_MEMBER]


async def test_requests_of_a_session_are_read_one_after_another() -> None:
    """P-11.1: each is answered once. Eight sessions with 256 each would leave nobody else a place among the readers."""
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        ann, ben = await it.enter("ann"), await it.enter("ben")
        it.database.hold("read")
        for ref in range(1, 101):
            ann.say(t="fetch", ref=ref, conv="c")
        ben.say(t="fetch", ref=1, conv="c")
        await settled()
        assert it.database.asked["read"] == 2
        it.database.release("read")
        await settled()
        assert refs(ann, "entries") == list(range(1, 101))
        assert refs(ben, "entries") == [1]
        assert ann.session.in_flight == 0


async def test_a_session_that_goes_takes_its_waiting_requests_along() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.hold("summaries")
        for ref in range(1, 51):
            ann.say(t="list", ref=ref)
        await settled()
        ann.vanish()
        it.database.release("summaries")
        await settled()
        assert it.database.asked["summaries"] == 1
        assert it.gateway.requests._waiting == {}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (StorageUnavailable("away"), Code.UNAVAILABLE),
        (StorageCorrupt("damaged"), Code.CORRUPT),
        (StorageError("odd"), Code.UNAVAILABLE),
    ],
)
async def test_what_the_database_cannot_answer_is_refused_by_number(fault: Exception, code: Code) -> None:
    """P-13.7."""
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.faults["read"].append(fault)
        ann.say(t="fetch", ref=1, conv="c")
        ann.say(t="fetch", ref=2, conv="c")
        await settled()
        assert [(frame["ref"], frame["code"]) for frame in ann.heard("error")] == [(1, code)]
        assert refs(ann, "entries") == [2]
        assert it.gateway.codes[code] == 1


async def test_a_fault_of_ours_ends_the_session_instead_of_leaving_it_without_an_answer() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann, ben = await it.enter("ann"), await it.enter("ben")
        it.database.faults["summaries"].append(KeyError("a fault of ours"))
        ann.say(t="list", ref=1)
        ann.say(t="list", ref=2)
        ben.say(t="list", ref=1)
        await settled()
        assert (ann.ended, ben.ended) == (Code.INTERNAL, 0)
        assert refs(ben, "conversations") == [1]
        assert it.gateway.tasks.crashes == 1


async def test_who_has_not_read_the_last_answers_gets_no_further_ones_for_now() -> None:
    """P-11.4: the answer would make them a slow reader, which they may not be."""
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        ann.socket.buffered_bytes = GatewayLimits().page_bytes_max + 1
        ann.say(t="fetch", ref=1, conv="c")
        ann.say(t="list", ref=2)
        await settled()
        assert ann.codes() == [Code.BUSY, Code.BUSY]
        assert all(frame["retry_after_ms"] for frame in ann.heard("error"))
        ann.socket.buffered_bytes = 0
        ann.say(t="fetch", ref=3, conv="c")
        await settled()
        assert refs(ann, "entries") == [3]


async def test_a_page_of_large_items_is_cut_to_what_fits() -> None:
    async with hall(limits=GatewayLimits(page_bytes_max=10_000)) as it:
        titles = "t" * 400
        items = [
            Summary(
                conv=f"c{number}",
                kind=Kind.GROUP,
                role=Role.MEMBER,
                head=1,
                first_seq=1,
                joined_seq=1,
                title=titles,
            )
            for number in range(100)
        ]
        it.database.summaries_items = items
        it.database.found("c0", "ann")
        ann = await it.enter("ann")
        ann.say(t="list", ref=1)
        await settled()
        (page,) = ann.heard("conversations")
        assert 5 < len(page["items"]) <= 20
        assert page["next_page"]


async def test_entries_with_much_around_their_bodies_are_cut_to_what_fits() -> None:
    """Fifty mentions weigh more than a body: a page of such must not make its reader a slow one."""
    limits = GatewayLimits(page_bytes_max=20_000)
    async with hall(limits=limits) as it:
        it.database.found("c", "ann")
        for _ in range(40):
            it.database.message("c", mentions=tuple(f"{'u' * 100}{number}" for number in range(50)))
        ann = await it.enter("ann")
        seen: list[int] = []
        complete = False
        while not complete:
            ann.frames.clear()
            ann.say(t="fetch", ref=1, conv="c", after=seen[-1] if seen else 0)
            await settled()
            (page,) = ann.heard("entries")
            assert len(json.dumps(page)) < 22_000
            seen += [entry["seq"] for entry in page["entries"]]
            complete = page["complete"]
        assert seen == list(range(1, 42))


async def test_an_account_log_s_id_may_be_longer_than_a_user_s() -> None:
    """P-7.3."""
    async with hall() as it:
        it.database.found("c", LONG_USER)
        guest = await it.enter(LONG_USER)
        guest.say(t="fetch", ref=1, conv="~" + LONG_USER)
        await settled()
        assert refs(guest, "entries") == [1]


@pytest.mark.parametrize(
    "frame",
    [
        {"t": "fetch", "conv": ""},
        {"t": "fetch", "conv": "c" * 60_000},
        {"t": "fetch", "conv": "a\0b"},
        {"t": "fetch", "conv": "c", "after": 1, "before": 2},
        {"t": "fetch", "conv": "c", "limit": 0},
        {"t": "fetch", "conv": "c", "after": 2**60},
        {"t": "list", "limit": 501},
        {"t": "list", "page": "p" * 60_000},
        {"t": "cursor", "cursors": [{"conv": "a\0b", "read": 1}]},
        {"t": "cursor", "cursors": [{"conv": "c", "read": -1}]},
        {"t": "cursor", "cursors": [{"conv": "c"}] * 201},
    ],
)
async def test_a_request_that_cannot_be_is_refused_before_anything_of_it_is_kept(
    frame: dict[str, object],
) -> None:
    """P-1.3, P-11.2, P-11.5, P-12.1."""
    async with hall() as it:
        ann = await it.enter("ann")
        asked = it.database.asked.total()
        ann.say(ref=7, **frame)
        assert [(frame["ref"], frame["code"]) for frame in ann.heard("error")] == [(7, Code.INVALID_REQUEST)]
        await it.receipts.flush()
        assert it.database.asked.total() == asked
        assert ann.session.in_flight == 0


async def test_cursors_are_answered_once_they_are_durable() -> None:
    """P-12.4."""
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        ann.say(t="cursor", ref=1, cursors=[{"conv": "c", "read": 1}])
        ann.say(t="cursor", ref=2, cursors=[])
        assert ann.heard("done") == []
        await it.receipts.flush()
        assert refs(ann, "done") == [1, 2]
        it.database.faults["advance"].append(StorageUnavailable("away"))
        ann.say(t="cursor", ref=3, cursors=[{"conv": "c", "read": 1}])
        await it.receipts.flush()
        assert ann.codes() == [Code.UNAVAILABLE]
        assert ann.session.in_flight == 0
