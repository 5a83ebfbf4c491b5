"""One user who wants everything: more sessions than a person has devices, and more logins than a person makes.

Floods of frames, sends, requests, connections, and readers that do not read are in tests/service/test_bad_input.py.
"""

from contextlib import AsyncExitStack
from pathlib import Path

from posthouse.app.config.values import Canary, Limits
from posthouse.protocol.codes import Code
from tests.security.serving import ACME, UMBRELLA, config, running, token, until
from tests.security.site import TEAM, Frame, Town, a_send, back_end

QUIET = Canary(interval_s=0)


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
