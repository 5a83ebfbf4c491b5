"""One user who wants everything: more sessions, logins and conversations than a person has.

Floods of frames, sends, requests, connections, and readers that do not read are in tests/service/test_bad_input.py.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from posthouse.app.config.values import Api, Canary, Limits
from posthouse.kit.clock import SystemClock
from posthouse.kit.tasks import start
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import POSITIONS_MAX
from tests.security.serving import ACME, UMBRELLA, config, running, token, until
from tests.security.site import TEAM, Frame, Talk, Town, a_send, back_end, user

QUIET = Canary(interval_s=0)
MANY = POSITIONS_MAX + 500
"""Conversations of one user."""
LIST_PAGE = 200
ANSWER_S_MAX = 5.0
"""Far more than a send takes beside a flood, also on a busy machine."""


async def test_one_user_s_devices_are_counted_and_leave_room_for_others(tmp_path: Path) -> None:
    """Beyond the limit they are sent away for a minute; one that is there may come again, and so may all others."""
    settings = config(tmp_path / "data", canary=QUIET, limits=Limits(sessions_per_user_max=3))
    async with running(settings) as node, Town.around(node) as town, AsyncExitStack() as stack:
        for number in range(3):
            talk = await stack.enter_async_context(town.talking(token("eve"), f"device {number}"))
            assert talk.first["t"] == "welcome"
        for _ in range(2):
            async with town.talking(token("eve"), "one more") as talk:
                assert (talk.first["t"], talk.first["code"]) == ("goaway", Code.OVERLOADED)
                assert talk.first["reconnect_in_ms"] > 10_000
                assert await talk.end() == Code.OVERLOADED
        assert node.gateway.codes[Code.OVERLOADED] == 2
        for bearer, device in (
            (token("eve"), "device 0"),
            (token("eve", UMBRELLA), "x"),
            (token("ann"), "x"),
        ):
            async with town.talking(bearer, device) as talk:
                assert talk.first["t"] == "welcome"
        await until(
            lambda: node.gateway.devices._of_users[ACME, "eve"] == 2
        )  # device 0 was replaced, and has left
        async with town.talking(token("eve"), "one more") as talk:
            assert talk.first["t"] == "welcome"


async def test_one_user_s_logins_have_a_pace_whether_they_resume_or_not(tmp_path: Path) -> None:
    """Resumes are exempt from the node's pace, which is there for storms of many; this is one."""
    limits = Limits(logins_per_user_per_s=0.01, logins_per_user_burst=4)
    async with (
        running(config(tmp_path / "data", canary=QUIET, limits=limits)) as node,
        Town.around(node) as town,
    ):
        welcome: Frame = {}
        for number in range(4):
            async with town.talking(token("eve"), f"device {number % 2}") as talk:
                welcome = talk.first
        resume = {"token": welcome["resume_token"], "epoch": welcome["epoch"], "positions": {}}
        for hello in ({}, {"resume": resume}):
            async with town.talking(token("eve"), "device 1", **hello) as talk:
                assert talk.first["code"] == Code.OVERLOADED
                assert talk.first["reconnect_in_ms"] > 0
        for bearer in (token("ann"), token("eve", UMBRELLA)):
            async with town.talking(bearer) as talk:
                assert talk.first["t"] == "welcome"
        assert node.gateway.admission.logins_refused == 2


async def test_what_was_counted_is_let_go_of(tmp_path: Path) -> None:
    """Sessions that have ended take no place, and nothing is kept of users who have gone."""
    settings = config(tmp_path / "data", canary=QUIET, limits=Limits(sessions_per_user_max=1))
    async with running(settings) as node, Town.around(node) as town:
        for number in range(5):
            async with town.talking(token("eve"), f"device {number}") as talk:
                assert talk.first["t"] == "welcome"
            await until(lambda: not node.gateway.devices._of_users)


async def test_one_app_s_flood_is_refused_and_no_other_app_waits_for_it(tmp_path: Path) -> None:
    """Its sends beyond the rate are told to wait, each by its code, and counted; umbrella's go through meanwhile."""
    limits = Limits(sends_per_app_per_s=1.0, sends_per_app_burst=5.0)
    async with (
        running(config(tmp_path / "data", canary=QUIET, limits=limits)) as node,
        Town.around(node) as town,
    ):
        for app in (ACME, UMBRELLA):
            body = {"kind": "group", "conv": TEAM, "members": ["ann", "eve"]}
            await town.must("POST", "/v1/conversations", back_end(app), body)
        async with town.talking(token("eve")) as eve, town.talking(token("ann", UMBRELLA)) as ann:
            answers = [await eve.ask(a_send(TEAM, f"flood {number}")) for number in range(20)]
            refused = [answer for answer in answers if answer["t"] == "error"]
            assert len(refused) >= 10
            assert refused[0]["code"] == Code.RATE_LIMITED
            assert {answer["code"] for answer in refused} <= {Code.RATE_LIMITED, Code.HELD_BACK}
            assert all(answer["retry_after_ms"] > 0 for answer in refused)
            assert sum(node.gateway.codes[code] for code in (Code.RATE_LIMITED, Code.HELD_BACK)) == len(
                refused
            )
            assert (await ann.ask(a_send(TEAM, "calm")))["t"] == "ack"


async def test_conversations_are_begun_and_people_added_no_faster_than_requests_may_come(
    tmp_path: Path,
) -> None:
    api = Api(requests_per_user_per_s=0.01, requests_per_user_burst=20.0)
    async with running(config(tmp_path / "data", canary=QUIET, api=api)) as node, Town.around(node) as town:
        begin = {"kind": "group", "members": []}
        own = (await town.must("POST", "/v1/conversations", user("eve"), begin)).body["conv"]
        asked = [("/v1/conversations", begin), (f"/v1/conversations/{own}/members", {"users": ["ann"]})] * 20
        replies = [await town.ask("POST", path, user("eve"), body) for path, body in asked]
        assert [reply.status for reply in replies] == [200] * 19 + [429] * 21
        assert (await town.ask("POST", "/v1/conversations", user("ann"), begin)).status == 200


async def test_one_user_in_thousands_of_conversations_comes_and_goes_and_harms_nobody(tmp_path: Path) -> None:
    """As many rooms as conversations while they are there, none afterwards; others are answered meanwhile."""
    async with running(config(tmp_path / "data", canary=QUIET)) as node, Town.around(node) as town:
        await join_many(town)
        async with talking_on(town) as slowest:
            rooms, seen = node.gateway.audience.rooms, set[str]()
            before = len(rooms)
            for number in range(5):
                async with town.talking(token("eve"), f"device {number % 2}") as eve:
                    assert eve.first["t"] == "welcome"
                    assert len(rooms) == before + MANY + 1
                    seen = await listed(eve)
                await until(lambda: len(rooms) == before)
            assert len(seen) == MANY
        assert max(slowest) < ANSWER_S_MAX


async def test_who_resumes_names_so_many_positions_and_no_more(tmp_path: Path) -> None:
    async with running(config(tmp_path / "data", canary=QUIET)) as node, Town.around(node) as town:
        await join_many(town)
        async with town.talking(token("eve")) as eve:
            resume = {"token": eve.first["resume_token"], "epoch": eve.first["epoch"]}
        positions = {f"many-{number}": 1 for number in range(POSITIONS_MAX)}
        async with town.talking(token("eve"), resume=resume | {"positions": positions}) as eve:
            assert (eve.first["t"], eve.first["resumed"]) == ("welcome", True)
            assert len(eve.first["changed"]) == MANY - POSITIONS_MAX + 1, "what was not named is told"
        positions["one more"] = 1
        async with town.talking(token("eve"), resume=resume | {"positions": positions}) as eve:
            assert eve.first["code"] == Code.BAD_FRAME


async def join_many(town: Town) -> None:
    """Eve is in all of them, as an application's back end may bring about; her list, which follows, is whole."""
    places = asyncio.Semaphore(50)

    async def begin(number: int) -> None:
        body = {"kind": "group", "conv": f"many-{number}", "members": ["eve"]}
        async with places:
            await town.must("POST", "/v1/conversations", back_end(ACME), body)

    await asyncio.gather(*map(begin, range(MANY)))
    async with town.talking(token("eve"), "waiting") as eve, asyncio.timeout(30):
        while len(await listed(eve)) < MANY:
            pass


async def listed(talk: Talk) -> set[str]:
    """All of a user's conversations, by pages that are no larger than was asked."""
    found, page = set[str](), ""
    while True:
        answer = await talk.ask({"t": "list", "ref": 1, "page": page, "limit": LIST_PAGE})
        assert 0 < len(answer["items"]) <= LIST_PAGE, answer
        found |= {item["conv"] for item in answer["items"]}
        page = answer.get("next_page", "")
        if not page:
            return found


@asynccontextmanager
async def talking_on(town: Town) -> AsyncIterator[list[float]]:
    """Somebody else talks all the time, and every send is acknowledged; how long each took, in seconds."""
    clock, over, took = SystemClock(), asyncio.Event(), list[float]()
    body = {"kind": "group", "conv": TEAM, "members": ["ann"]}
    await town.must("POST", "/v1/conversations", back_end(ACME), body)

    async def talk() -> None:
        async with town.talking(token("ann")) as ann:
            while not over.is_set():
                begun = clock.monotonic()
                assert (await ann.ask(a_send(TEAM, f"calm {len(took)}")))["t"] == "ack"
                took.append(clock.monotonic() - begun)
                await asyncio.sleep(0.01)

    talk_going_on = start(talk())
    await until(lambda: took)
    try:
        yield took
    finally:
        over.set()
        await talk_going_on
