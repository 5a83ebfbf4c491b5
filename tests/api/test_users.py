"""What an app says about its users, and the tokens it gets for them."""

import asyncio

import pytest

from posthouse.api.settings import ApiSettings
from posthouse.auth.tokens import TokenVerifier
from tests.api.site import ACME, ALICE, APPS, BOB, NOBODY, Caller, Site

WHOLE = {"name": "Alice", "avatar": "https://a.example/alice.png", "properties": {"email": "alice@a.example"}}


async def test_the_back_end_describes_a_user_and_reads_all_of_it(site: Site) -> None:
    put = await site.ask("PUT", "/users/alice", ACME, WHOLE)
    got = await site.get("/users/alice", ACME)
    assert put.status == got.status == 200
    assert got.body == put.body == {"user": "alice", "updated_ms": site.clock.now_ms()} | WHOLE


async def test_what_is_left_out_stays_as_it_is(site: Site) -> None:
    """A back end that keeps names in step must not lift a block by it."""
    await site.ask("PUT", "/users/alice", ACME, WHOLE | {"blocked": True})
    changed = await site.ask("PUT", "/users/alice", ACME, {"name": "Alicia"})
    assert changed.body == {"user": "alice", "updated_ms": site.clock.now_ms(), "blocked": True} | WHOLE | {
        "name": "Alicia"
    }


async def test_others_see_name_and_avatar_only(site: Site) -> None:
    await site.ask("PUT", "/users/alice", ACME, WHOLE)
    seen = await site.get("/users/alice", BOB)
    assert seen.body == {"user": "alice", "name": "Alice", "avatar": "https://a.example/alice.png"}


async def test_many_users_are_read_at_once_and_unknown_ones_left_out(site: Site) -> None:
    for user in ("alice", "bob"):
        await site.ask("PUT", f"/users/{user}", ACME, {"name": user.title()})
    found = await site.get("/users?ids=bob&ids=alice&ids=nobody", BOB)
    assert {each["user"]: each["name"] for each in found.body["users"]} == {"alice": "Alice", "bob": "Bob"}
    assert (await site.get("/users?ids=bob", BOB)).body["users"][0]["name"] == "Bob"


@pytest.mark.parametrize(
    "query", ["", "?", "?ids=", "?id=alice", "?ids=a%00b", "?" + "&".join(["ids=x"] * 201)]
)
async def test_a_question_for_users_must_name_some(site: Site, query: str) -> None:
    assert (await site.get(f"/users{query}", ACME)).status == 400


async def test_a_user_nobody_described_is_not_found(site: Site) -> None:
    reply = await site.get("/users/alice", ACME)
    assert (reply.status, reply.code) == (404, "not_found")


async def test_users_set_their_own_name_and_avatar_and_nothing_else(site: Site) -> None:
    await site.ask("PUT", "/users/alice", ACME, WHOLE)
    put = await site.ask("PUT", "/users/alice", ALICE, {"name": "Al"})
    assert put.body == {"user": "alice", "name": "Al", "avatar": WHOLE["avatar"]}
    assert (await site.get("/users/alice", ACME)).body["properties"] == WHOLE["properties"]
    for path, body in (
        ("/users/bob", {"name": "Bob the Fool"}),
        ("/users/alice", {"blocked": False}),
        ("/users/alice", {"properties": {"admin": True}}),
    ):
        reply = await site.ask("PUT", path, ALICE, body)
        assert (reply.status, reply.code) == (403, "not_allowed")


async def test_a_user_who_edits_while_being_blocked_stays_blocked(site: Site) -> None:
    """Read, change and write of one record must not interleave."""
    await site.ask("PUT", "/users/alice", ACME, {"name": "Alice"})
    edits = [site.ask("PUT", "/users/alice", ALICE, {"name": f"A{n}"}) for n in range(5)]
    await asyncio.gather(
        *edits,
        site.ask("PUT", "/users/alice", ACME, {"blocked": True}),
        *[site.ask("PUT", "/users/alice", ACME, {"avatar": f"x{n}"}) for n in range(5)],
    )
    assert (await site.get("/users/alice", ACME)).body["blocked"] is True


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a\nb"},
        {"name": "a\0b"},
        {"name": "x" * 257},
        {"avatar": "x" * 2049},
        {"name": 1},
        {"properties": []},
        {"properties": {"a": "\0"}},
        {"properties": "x"},
        {"nmae": "Alice"},
        {"blocked": "yes"},
        [],
        b"",
        b"{",
        b'{"properties":{"a":"\xff"}}',
        b'{"name":"\\ud800"}',
        b'{"properties":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
async def test_a_description_that_cannot_be_kept_is_refused(site: Site, body: object) -> None:
    reply = await site.ask("PUT", "/users/alice", ACME, body)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert (await site.get("/users/alice", ACME)).status == 404


class TestWithoutEditing:
    """`users_edit_profile = false`."""

    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(users_edit_profile=False)

    async def test_users_do_not_even_set_their_own_name(self, site: Site) -> None:
        assert (await site.ask("PUT", "/users/alice", ALICE, {"name": "Al"})).code == "not_allowed"
        assert (await site.ask("PUT", "/users/alice", ACME, {"name": "Al"})).status == 200


# Tokens -----------------------------------------------------------------------------------------------------------


async def test_the_back_end_gets_a_token_that_opens_the_api_for_the_user(site: Site) -> None:
    made = await site.post("/tokens", ACME, {"user": "alice", "device": "phone", "ttl_s": 60})
    now_s = site.clock.now_ms() // 1000
    assert (made.status, made.body["expires_s"]) == (200, now_s + 60)
    identity = TokenVerifier(APPS, ttl_s_max=3600).verify(made.body["token"], now_s)
    assert (identity.app, identity.user, identity.device) == ("acme", "alice", "phone")
    alice = Caller({"Authorization": f"bearer {made.body['token']}"})
    assert (await site.get("/conversations", alice)).status == 200


async def test_without_a_ttl_a_token_lives_as_long_as_is_configured(site: Site) -> None:
    made = await site.post("/tokens", ACME, {"user": "alice"})
    assert made.body["expires_s"] == site.clock.now_ms() // 1000 + 3600


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user": ""},
        {"user": "a\0"},
        {"user": "a", "ttl_s": 0},
        {"user": "a", "ttl_s": 86_401},
        {"user": 1},
        {"user": "a", "device": "\n"},
    ],
)
async def test_no_token_for_what_is_no_user_or_too_long(site: Site, body: object) -> None:
    assert (await site.post("/tokens", ACME, body)).status == 400


async def test_only_the_back_end_gets_tokens(site: Site) -> None:
    reply = await site.post("/tokens", ALICE, {"user": "bob"})
    assert (reply.status, reply.code) == (403, "not_allowed")
    assert (await site.post("/tokens", NOBODY, {"user": "bob"})).status == 401


async def test_a_blocked_user_gets_no_token_and_their_old_one_opens_nothing(site: Site) -> None:
    await site.ask("PUT", "/users/alice", ACME, {"blocked": True})
    assert (await site.post("/tokens", ACME, {"user": "alice"})).code == "blocked"
    reply = await site.get("/conversations", ALICE)
    assert (reply.status, reply.code) == (403, "blocked")
    await site.ask("PUT", "/users/alice", ACME, {"blocked": False})
    assert (await site.get("/conversations", ALICE)).status == 200


async def test_the_back_end_sees_who_is_connected(site: Site) -> None:
    """null is "nobody can say", which is not "no"."""
    seen = await site.get("/presence?ids=alice&ids=bob&ids=carol", ACME)
    assert [each["online"] for each in seen.body["users"]] == [True, False, None]
    assert (await site.get("/presence?ids=alice", ALICE)).status == 403
