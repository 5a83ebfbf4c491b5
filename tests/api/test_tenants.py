"""Whatever one app's key or token asks for, it never reaches another app's data."""

from tests.api.site import ACME, ALICE, UMBRELLA, Caller, Site, user

ALICE_OF_UMBRELLA = user("alice", app="umbrella")


async def everything(site: Site, caller: Caller) -> dict[str, tuple[int, object]]:
    """What every reading route says of acme's users and conversations."""
    paths = (
        "/users/alice",
        "/users?ids=alice&ids=bob",
        "/conversations?user=alice",
        "/conversations/team",
        "/conversations/team/members",
        "/conversations/team/cursors",
        "/conversations/team/entries",
        "/conversations/~alice/entries",
    )
    replies = {path: await site.get(path, caller) for path in paths}
    return {path: (reply.status, reply.body) for path, reply in replies.items()}


async def test_reading_shows_nothing_of_another_app(site: Site) -> None:
    """Every answer is the same whether acme has data or not."""
    for caller in (UMBRELLA, ALICE_OF_UMBRELLA):
        before = await everything(site, caller)
        await site.group("bob", title="secret plans")
        await site.ask("PUT", "/users/alice", ACME, {"name": "Alice of acme"})
        await site.say(ALICE, "team", "the secret")
        assert await everything(site, caller) == before


async def test_writing_changes_nothing_of_another_app(site: Site) -> None:
    await site.group("bob", title="Team")
    await site.ask("PUT", "/users/alice", ACME, {"name": "Alice of acme"})
    before = await everything(site, ACME)
    for caller in (UMBRELLA, ALICE_OF_UMBRELLA):
        await site.ask("PUT", "/users/alice", caller, {"name": "Someone else"})
        await site.say(caller, "team", "hello")
        await site.ask("PATCH", "/conversations/team", caller, {"title": "Ours"})
        await site.post("/conversations/team/members", caller, {"users": ["mallory"]})
        await site.ask("PATCH", "/conversations/team/members/bob", caller, {"role": "owner"})
        await site.ask("DELETE", "/conversations/team/members/bob", caller)
    assert await everything(site, ACME) == before


async def test_two_apps_have_a_conversation_of_the_same_id_each(site: Site) -> None:
    await site.group(title="of acme")
    await site.group(title="of umbrella", owner=ALICE_OF_UMBRELLA)
    await site.say(ALICE, "team", "in acme", client_id="c")
    assert (await site.say(ALICE_OF_UMBRELLA, "team", "in umbrella", client_id="c")).body["seq"] == 2
    for caller, name in ((ACME, "acme"), (UMBRELLA, "umbrella")):
        assert (await site.get("/conversations/team", caller)).body["title"] == f"of {name}"
        found = await site.get("/conversations/team/entries?after=1", caller)
        assert [entry["body"]["text"] for entry in found.body["entries"]] == [f"in {name}"]


async def test_a_block_in_one_app_is_none_in_another(site: Site) -> None:
    await site.ask("PUT", "/users/alice", UMBRELLA, {"blocked": True})
    assert (await site.get("/conversations", ALICE)).status == 200
    assert (await site.get("/conversations", ALICE_OF_UMBRELLA)).code == "blocked"


async def test_a_token_is_for_the_app_whose_key_asked_for_it(site: Site) -> None:
    await site.group(title="of acme")
    token = (await site.post("/tokens", UMBRELLA, {"user": "alice"})).body["token"]
    assert (
        await site.get("/conversations/team", Caller({"Authorization": f"Bearer {token}"}))
    ).code == "not_member"
