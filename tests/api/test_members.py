"""Membership: who comes, goes and manages, and how far each has read."""

import pytest

from tests.api.site import ACME, ALICE, BOB, CAROL, MALLORY, Caller, Site


async def members(site: Site, query: str = "") -> dict[str, str]:
    found = await site.get(f"/conversations/team/members{query}", ACME)
    return {member["user"]: member["role"] for member in found.body["members"]}


async def test_an_owner_adds_members_and_those_who_are_stay_as_they_are(site: Site) -> None:
    await site.group("bob")
    added = await site.post(
        "/conversations/team/members", ALICE, {"users": ["carol", "bob"], "role": "admin"}
    )
    assert (added.status, added.body["seq"]) == (200, 2)
    assert await members(site) == {"alice": "owner", "bob": "member", "carol": "admin"}
    again = await site.post("/conversations/team/members", ALICE, {"users": ["carol"]})
    assert (again.body["duplicate"], again.body["seq"]) == (True, 2)


async def test_adding_again_with_the_same_key_is_answered_with_the_same_seq(site: Site) -> None:
    await site.group("bob")
    first = await site.post("/conversations/team/members", ALICE, {"users": ["carol"]}, key="k")
    await site.ask("DELETE", "/conversations/team/members/carol", ALICE)
    again = await site.post("/conversations/team/members", ALICE, {"users": ["carol"]}, key="k")
    assert again.body == first.body | {"duplicate": True}
    assert "carol" not in await members(site)


async def test_members_leave_and_are_removed(site: Site) -> None:
    await site.group("bob", "carol")
    assert (await site.ask("DELETE", "/conversations/team/members/bob", BOB)).status == 200
    assert (await site.ask("DELETE", "/conversations/team/members/carol", ALICE)).status == 200
    assert await members(site) == {"alice": "owner"}
    assert (await site.get("/conversations/team", BOB)).code == "not_member"
    again = await site.ask("DELETE", "/conversations/team/members/bob", ACME)
    assert again.body["duplicate"] is True


async def test_an_owner_changes_roles(site: Site) -> None:
    await site.group("bob")
    assert (
        await site.ask("PATCH", "/conversations/team/members/bob", ALICE, {"role": "admin"})
    ).status == 200
    assert (await members(site))["bob"] == "admin"
    missing = await site.ask("PATCH", "/conversations/team/members/nobody", ALICE, {"role": "admin"})
    assert (missing.status, missing.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("caller", "code"), [(BOB, "not_allowed"), (MALLORY, "not_member")], ids=["a mere member", "a stranger"]
)
async def test_whoever_does_not_manage_changes_nobody(site: Site, caller: Caller, code: str) -> None:
    await site.group("bob", "carol")
    before = await members(site)
    asked = [
        await site.post("/conversations/team/members", caller, {"users": ["mallory"]}),
        await site.ask("PATCH", "/conversations/team/members/carol", caller, {"role": "owner"}),
        await site.ask("DELETE", "/conversations/team/members/carol", caller),
    ]
    assert {reply.code for reply in asked} == {code}
    assert await members(site) == before


async def test_an_admin_does_not_make_owners_nor_remove_them(site: Site) -> None:
    await site.group("bob", {"user": "carol", "role": "admin"})  # type: ignore[arg-type]
    assert (
        await site.ask("PATCH", "/conversations/team/members/bob", CAROL, {"role": "owner"})
    ).code == "not_allowed"
    assert (await site.ask("DELETE", "/conversations/team/members/alice", CAROL)).code == "not_allowed"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"users": []},
        {"users": [""]},
        {"users": ["a\n"]},
        {"users": ["x"], "role": "reader"},
        {"users": "bob"},
        {"users": [1]},
    ],
)
async def test_users_who_cannot_be_are_not_added(site: Site, body: object) -> None:
    await site.group("bob")
    assert (await site.post("/conversations/team/members", ALICE, body)).code == "invalid_request"


async def test_the_members_of_a_direct_conversation_are_fixed(site: Site) -> None:
    conv = (await site.post("/conversations", ALICE, {"kind": "direct", "members": ["bob"]})).body["conv"]
    for caller in (ACME,):
        assert (
            await site.post(f"/conversations/{conv}/members", caller, {"users": ["carol"]})
        ).code == "invalid_request"
        assert (
            await site.ask("DELETE", f"/conversations/{conv}/members/bob", caller)
        ).code == "invalid_request"


async def test_members_come_in_pages_for_members_and_the_back_end(site: Site) -> None:
    await site.group("bob", "carol", "dave")
    first = await site.get("/conversations/team/members?limit=3", BOB)
    rest = await site.get(f"/conversations/team/members?limit=3&after={first.body['next_after']}", BOB)
    users = [member["user"] for page in (first, rest) for member in page.body["members"]]
    assert users == ["alice", "bob", "carol", "dave"]
    assert "next_after" not in rest.body
    assert (await site.get("/conversations/team/members", MALLORY)).code == "not_member"
    assert (await site.get("/conversations/nothing/members", ACME)).code == "not_found"
    assert (await site.get("/conversations/team/members?limit=1001", ACME)).code == "invalid_request"


async def test_cursors_are_told_on_demand(site: Site) -> None:
    await site.group("bob")
    await site.say(ALICE, "team", "hello")
    await site.node.read_up_to("acme", "bob", "team", 2)
    of_bob = await site.get("/conversations/team/cursors?users=bob", ALICE)
    assert of_bob.body["cursors"] == [{"user": "bob", "read": 2, "delivered": 2}]
    of_all = await site.get("/conversations/team/cursors", ACME)
    assert {each["user"] for each in of_all.body["cursors"]} == {"alice", "bob"}
    assert (await site.get("/conversations/team/cursors", MALLORY)).code == "not_member"
    assert (await site.get("/conversations/nothing/cursors", ACME)).code == "not_found"
