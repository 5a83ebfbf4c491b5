"""Creating, listing and describing conversations."""

import pytest

from posthouse.api.settings import ApiSettings
from tests.api.site import ACME, ALICE, BOB, CAROL, MALLORY, Site, part


async def roles(site: Site, conv: str) -> dict[str, str]:
    found = await site.get(f"/conversations/{part(conv)}/members?limit=1000", ACME)
    return {member["user"]: member["role"] for member in found.body["members"]}


async def test_a_user_who_creates_a_group_becomes_its_owner(site: Site) -> None:
    body = {
        "kind": "group",
        "members": ["bob", {"user": "carol", "role": "admin"}],
        "title": "Team",
        "properties": {"a": 1},
    }
    made = await site.post("/conversations", ALICE, body)
    assert made.status == 200
    expected = {
        "kind": "group",
        "title": "Team",
        "head": 1,
        "members": 3,
        "history": "joined",
        "properties": {"a": 1},
    }
    assert made.body | expected == made.body
    assert await roles(site, made.body["conv"]) == {"alice": "owner", "bob": "member", "carol": "admin"}


async def test_the_back_end_creates_with_the_roles_it_names(site: Site) -> None:
    body = {"kind": "group", "conv": "g", "members": [{"user": "alice", "role": "owner"}, "bob"]}
    assert (await site.post("/conversations", ACME, body)).body["conv"] == "g"
    assert await roles(site, "g") == {"alice": "owner", "bob": "member"}


async def test_in_a_channel_members_read_and_newcomers_see_everything(site: Site) -> None:
    made = await site.post("/conversations", ALICE, {"kind": "channel", "conv": "news", "members": ["bob"]})
    assert made.body["history"] == "all"
    await site.post("/conversations/news/members", ALICE, {"users": ["carol"]})
    assert await roles(site, "news") == {"alice": "owner", "bob": "reader", "carol": "reader"}


async def test_a_direct_conversation_is_the_same_whoever_begins_it(site: Site) -> None:
    begun = [
        await site.post("/conversations", ALICE, {"kind": "direct", "members": ["bob"]}),
        await site.post("/conversations", BOB, {"kind": "direct", "members": ["alice"]}),
        await site.post("/conversations", ACME, {"kind": "direct", "members": ["bob", "alice"]}),
    ]
    assert {reply.status for reply in begun} == {200}
    assert len({reply.body["conv"] for reply in begun}) == 1
    assert begun[-1].body["head"] == 1
    assert await roles(site, begun[0].body["conv"]) == {"alice": "member", "bob": "member"}


async def test_creating_again_with_the_same_key_gives_the_same_conversation(site: Site) -> None:
    body = {"kind": "group", "members": ["bob"]}
    first = await site.post("/conversations", ALICE, body, key="k1")
    again = await site.post("/conversations", ALICE, body, key="k1")
    other = await site.post("/conversations", ALICE, body, key="k2")
    assert first.body == again.body
    assert other.body["conv"] != first.body["conv"]


async def test_the_same_key_means_another_conversation_for_another_caller(site: Site) -> None:
    made = [await site.post("/conversations", who, {"kind": "group"}, key="k") for who in (ALICE, BOB, ACME)]
    assert len({reply.body["conv"] for reply in made}) == 3


async def test_the_same_key_with_other_content_is_a_conflict(site: Site) -> None:
    await site.post("/conversations", ALICE, {"kind": "group"}, key="k")
    reply = await site.post("/conversations", ALICE, {"kind": "group", "title": "x"}, key="k")
    assert (reply.status, reply.code) == (409, "conflict")


async def test_an_id_that_is_taken_is_refused(site: Site) -> None:
    await site.group("bob")
    reply = await site.post("/conversations", MALLORY, {"kind": "group", "conv": "team", "members": ["bob"]})
    assert (reply.status, reply.code) == (409, "exists")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "party"},
        {"kind": "account"},
        {"kind": "group", "conv": "~alice"},
        {"kind": "group", "conv": "=abc"},
        {"kind": "group", "conv": "a\nb"},
        {"kind": "group", "conv": "x" * 129},
        {"kind": "group", "members": ["bob", "bob"]},
        {"kind": "group", "members": [""]},
        {"kind": "group", "members": ["a\0"]},
        {"kind": "group", "members": [{"user": "bob"}]},
        {"kind": "group", "members": [{"user": "bob", "role": "king"}]},
        {"kind": "group", "members": [{"user": "bob", "role": "reader"}]},
        {"kind": "group", "members": [f"u{n}" for n in range(1001)]},
        {"kind": "group", "title": "x" * 257},
        {"kind": "group", "title": "a\nb"},
        {"kind": "group", "history": "some"},
        {"kind": "direct"},
        {"kind": "direct", "members": ["bob", "carol"]},
        {"kind": "direct", "members": ["alice"]},
        {"kind": "direct", "members": ["bob"], "conv": "mine"},
        {"kind": "direct", "members": [{"user": "bob", "role": "admin"}]},
        {"kind": "group", "membrs": ["bob"]},
    ],
)
async def test_a_conversation_that_cannot_be_is_refused(site: Site, body: object) -> None:
    reply = await site.post("/conversations", ALICE, body)
    assert (reply.status, reply.code) == (400, "invalid_request")


async def test_properties_that_cannot_be_kept_are_refused(site: Site) -> None:
    reply = await site.post("/conversations", ALICE, {"kind": "group", "properties": {"a": "\0"}})
    assert (reply.status, reply.code) == (422, "invalid_content")


async def test_facts_are_for_members_and_the_back_end(site: Site) -> None:
    conv = await site.group("bob", title="Team")
    for caller in (ALICE, BOB, ACME):
        assert (await site.get(f"/conversations/{conv}", caller)).body["title"] == "Team"
    stranger = await site.get(f"/conversations/{conv}", MALLORY)
    missing = await site.get("/conversations/nothing", MALLORY)
    assert (stranger.status, stranger.body) == (404, missing.body)
    assert (await site.get("/conversations/nothing", ACME)).code == "not_found"


async def test_an_account_log_is_no_conversation(site: Site) -> None:
    for caller in (ALICE, ACME):
        assert (await site.get("/conversations/~alice", caller)).status == 404
        assert (await site.get("/conversations/~alice/members", caller)).status == 404
        assert (
            await site.ask("PATCH", "/conversations/~alice", caller, {"title": "x"})
        ).code == "not_allowed"


async def test_owners_and_the_back_end_change_the_title(site: Site) -> None:
    conv = await site.group("bob")
    for caller, title in ((ALICE, "One"), (ACME, "Two")):
        changed = await site.ask("PATCH", f"/conversations/{conv}", caller, {"title": title})
        assert (changed.status, changed.body["title"]) == (200, title)
    assert (await site.ask("PATCH", f"/conversations/{conv}", BOB, {"title": "x"})).code == "not_allowed"
    assert (await site.ask("PATCH", f"/conversations/{conv}", MALLORY, {"title": "x"})).code == "not_member"
    assert (await site.ask("PATCH", f"/conversations/{conv}", ALICE, {})).code == "invalid_request"
    assert (await site.ask("PATCH", "/conversations/nothing", ACME, {"title": "x"})).code == "not_found"


async def test_a_users_list_is_their_own(site: Site) -> None:
    conv = await site.group("bob")
    await site.say(ALICE, conv, "hello")
    await site.node.keep_lists()
    for caller, query in ((BOB, ""), (BOB, "?user=bob"), (ACME, "?user=bob")):
        found = await site.get(f"/conversations{query}", caller)
        assert [(item["conv"], item["unread"], item["last"]["body"]) for item in found.body["items"]] == [
            (conv, 1, {"text": "hello"})
        ]
    assert (await site.get("/conversations", CAROL)).body["items"] == []
    assert (await site.get("/conversations?user=alice", BOB)).code == "not_allowed"
    assert (await site.get("/conversations", ACME)).code == "invalid_request"


async def test_a_long_list_comes_in_pages(site: Site) -> None:
    made = [await site.group(conv=f"g{n}") for n in range(5)]
    await site.node.keep_lists()
    seen: list[str] = []
    page = ""
    while True:
        found = await site.get(f"/conversations?limit=2&page={part(page)}", ALICE)
        seen += [item["conv"] for item in found.body["items"]]
        page = found.body.get("next_page", "")
        if not page:
            break
    assert sorted(seen) == sorted(made)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=1&limit=2", "user=a%00", "lmit=1"]
)
async def test_a_question_for_a_list_that_makes_no_sense_is_refused(site: Site, query: str) -> None:
    assert (await site.get(f"/conversations?{query}", ALICE)).code == "invalid_request"


async def test_the_app_itself_may_own_nothing_and_still_manage(site: Site) -> None:
    """A conversation without members, made by a back end that adds them later."""
    made = await site.post("/conversations", ACME, {"kind": "group", "conv": "empty"})
    assert (made.status, made.body["members"]) == (200, 0)
    assert (await site.post("/conversations/empty/members", ACME, {"users": ["bob"]})).status == 200
    assert (await site.get("/conversations/empty", BOB)).status == 200


class TestBroughtTogetherByTheBackEnd:
    """`api.users_create_conversations = false`."""

    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(users_create_conversations=False)

    async def test_users_draw_nobody_into_a_conversation(self, site: Site) -> None:
        """The back end does; users write, leave, and manage who is there."""
        team = {"kind": "group", "conv": "team", "members": [{"user": "alice", "role": "owner"}, "bob"]}
        for body in (team, {"kind": "direct", "members": ["bob"]}):
            assert (await site.post("/conversations", ALICE, body)).code == "not_allowed"
        assert (await site.post("/conversations", ACME, team)).status == 200
        added = {"users": ["carol"]}
        assert (await site.post("/conversations/team/members", ALICE, added)).code == "not_allowed"
        assert (await site.post("/conversations/team/members", ACME, added)).status == 200
        assert (await site.say(ALICE, "team", "hello")).status == 200
        assert (await site.ask("DELETE", "/conversations/team/members/bob", ALICE)).status == 200
