"""Resume tokens in the wrong hands: alone they open nothing, and beside another's access token nothing either."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from posthouse.app.config.values import Auth, Canary, Config
from posthouse.auth.keys import new_secret
from posthouse.gateway.session import AHEAD_MS_MAX
from posthouse.kit.clock import SystemClock
from posthouse.protocol.codes import Code
from tests.security.serving import ACME, UMBRELLA, config, running, token
from tests.security.site import ACCOUNT, TEAM, Frame, Town, back_end
from tests.service.test_resuming import change_epoch


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return config(tmp_path / "data", canary=Canary(interval_s=0), auth=Auth(resume_secret=new_secret()))


@pytest.fixture
async def town(settings: Config) -> AsyncIterator[Town]:
    async with running(settings) as node, Town.around(node) as town:
        await town.furnish()
        yield town


async def taken_from_ann(town: Town) -> Frame:
    """What a thief has: all that her phone would resume with."""
    async with town.talking(token("ann")) as ann:
        welcome = ann.first
    return {"token": welcome["resume_token"], "epoch": welcome["epoch"], "positions": {ACCOUNT: 0, TEAM: 0}}


@pytest.mark.parametrize(
    ("bearer", "device"),
    [
        (token("mallory"), "phone"),
        (token("ann"), "tablet"),
        (token("ann", UMBRELLA), "phone"),
    ],
    ids=["another user", "another device", "another app's user of the same name"],
)
async def test_somebody_else_s_opens_nothing(town: Town, bearer: str, device: str) -> None:
    stolen = await taken_from_ann(town)
    async with town.talking(bearer, device, resume=stolen) as thief:
        assert (thief.first["t"], thief.first["code"]) == ("goaway", Code.RESUME_REFUSED)
        assert await thief.end() == Code.RESUME_REFUSED
    assert town.node.gateway.codes[Code.RESUME_REFUSED] == 1


@pytest.mark.parametrize(
    "bearer",
    ["", "resume", token("ann", ttl_s=-1), token("ann", ttl_s=-86_400)],
    ids=["nothing", "itself", "one that is just over", "one of yesterday"],
)
async def test_alone_it_is_no_proof_of_anything(town: Town, bearer: str) -> None:
    """P-17.2: without an access token, with itself in its place, or with one that is over."""
    stolen = await taken_from_ann(town)
    bearer = stolen["token"] if bearer == "resume" else bearer
    async with town.talking(bearer, resume=stolen) as thief:
        assert thief.first["code"] in (Code.TOKEN_INVALID, Code.TOKEN_EXPIRED)
    headers = {"Authorization": f"Bearer {stolen['token']}"}
    assert (await town.ask("GET", "/v1/conversations", headers)).status == 401


async def test_after_a_block_it_opens_nothing_and_the_session_that_stands_ends(town: Town) -> None:
    stolen = await taken_from_ann(town)
    async with town.talking(token("ann")) as ann:
        await town.must("PUT", "/v1/users/ann", back_end(ACME), {"blocked": True})
        assert await ann.end() == Code.BLOCKED
    async with town.talking(token("ann"), resume=stolen) as thief:
        assert (thief.first["code"], await thief.end()) == (Code.BLOCKED, Code.BLOCKED)


async def test_after_the_secret_was_changed_it_opens_nothing_and_its_owner_begins_afresh(
    town: Town, settings: Config
) -> None:
    stolen = await taken_from_ann(town)
    await town.node.stop()
    changed = replace(settings, auth=Auth(resume_secret=new_secret()))
    async with running(changed) as node, Town.around(node) as again:
        async with again.talking(token("ann"), resume=stolen) as talk:
            assert talk.first["code"] == Code.RESUME_REFUSED
        async with again.talking(token("ann")) as talk:
            assert talk.first["t"] == "welcome"


async def test_of_an_old_epoch_it_resets(town: Town, settings: Config) -> None:
    """Also when the epoch beside the token is made up: the one inside is signed."""
    stolen = await taken_from_ann(town)
    await town.node.stop()
    await change_epoch("sqlite", Path(settings.data.folder), "another")
    async with running(settings) as node, Town.around(node) as again:
        for epoch in (stolen["epoch"], "another"):
            async with again.talking(token("ann"), resume=stolen | {"epoch": epoch}) as talk:
                welcome = talk.first
                assert (welcome.get("resumed", False), welcome["reset"]) == (False, Code.EPOCH_CHANGED)


async def test_after_its_time_it_opens_nothing(tmp_path: Path) -> None:
    settings = config(tmp_path / "data", canary=Canary(interval_s=0), auth=Auth(resume_ttl_s=1))
    async with running(settings) as node, Town.around(node) as town:
        await town.furnish()
        stolen = await taken_from_ann(town)
        issued_s = SystemClock().now_ms() // 1000
        while SystemClock().now_ms() // 1000 <= issued_s + 1:
            await SystemClock().sleep(0.05)
        async with town.talking(token("ann"), resume=stolen) as talk:
            assert talk.first["code"] == Code.RESUME_REFUSED


@pytest.mark.parametrize("change", ["each byte", "cut", "longer", "another's inside"])
async def test_no_changed_one_is_taken(town: Town, change: str) -> None:
    """It says who and from where; whoever changes a letter of it has none."""
    stolen = await taken_from_ann(town)
    text = stolen["token"]
    changed = {
        "each byte": [text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :] for at in range(0, len(text), 16)],
        "cut": [text[:-1], text[: len(text) // 2], ""],
        "longer": [f"{text}AAAA", "A" * 2_100],
        "another's inside": [text[:43] + (await taken_by("mallory", town))[43:]],
    }[change]  # fmt: skip
    for each in changed:
        async with town.talking(token("ann"), resume=stolen | {"token": each}) as talk:
            assert talk.first["code"] == Code.RESUME_REFUSED, each


async def taken_by(user: str, town: Town) -> str:
    async with town.talking(token(user)) as talk:
        return str(talk.first["resume_token"])


async def test_no_clock_holds_a_device_s_place_for_long(town: Town) -> None:
    """Whoever has stolen everything and says that it is the year 287396 is older again in some minutes."""
    async with town.talking(token("ann"), at_ms=2**53 - 1) as thief:
        assert thief.first["t"] == "welcome"
        (held,) = town.node.gateway.devices._held.values()
        assert held.opened_ms <= SystemClock().now_ms() + AHEAD_MS_MAX
