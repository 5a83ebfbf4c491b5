"""What an application does with the SDK besides talking, on a real node with both engines."""

import asyncio

import pytest

from posthouse.client import (
    Client,
    Code,
    ConversationChanged,
    ConversationCreated,
    EntryReceived,
    Kind,
    MembersJoined,
    MembersLeft,
    RequestRefused,
    Role,
    RoleChanged,
    event_of,
)
from tests.service.site import Site


def client_of(site: Site, user: str) -> Client:
    return Client(site.url, token=site.token(user), device=f"{user}-1")


async def test_a_reader_of_a_channel_who_is_given_a_role_may_write(site: Site) -> None:
    async with client_of(site, "ann") as ann, client_of(site, "ben") as ben:
        channel = await ann.create_channel("News", ["ben"])
        with pytest.raises(RequestRefused) as refused:
            await ben.conversation(channel.conv).set_role("ben", Role.ADMIN)
        assert refused.value.code == Code.NOT_ALLOWED
        await channel.set_role("ben", Role.MEMBER)
        assert {member.user: member.role async for member in channel.members()} == {
            "ann": Role.OWNER,
            "ben": Role.MEMBER,
        }
        assert (await ben.send(channel.conv, "hello")).conv == channel.conv


async def test_users_say_how_they_are_shown(site: Site) -> None:
    async with client_of(site, "ann") as ann, client_of(site, "ben") as ben:
        with pytest.raises(RequestRefused) as refused:
            await ben.profile("ann")
        assert refused.value.code == Code.NOT_FOUND
        await ann.set_profile(name="Ann", avatar="https://pictures.example/ann.png")
        await ann.set_profile(name="Ann of the North")
        shown = await ben.profile("ann")
        assert (shown.name, shown.avatar) == ("Ann of the North", "https://pictures.example/ann.png")
        asked = await ben.api.request("GET", "/v1/users?ids=ann&ids=ben")
        assert [user["name"] for user in asked["users"]] == ["Ann of the North"]


async def test_what_changes_a_conversation_is_told_by_its_type_live_and_from_history(site: Site) -> None:
    """P-7.8, P-15.3: it was asked for over HTTP, and is in the log."""
    async with client_of(site, "ann") as ann:
        group = await ann.create_group("Tea", ["ben"], history="all")
        await group.invite("cyd", role="admin")
        await group.set_role("cyd", "member")
        await group.describe(title="Coffee")
        await group.remove("cyd")
        live = await entries_of(ann, group.conv, 5)
        told = [event_of(entry) async for entry in group.history(after=0)]
    assert [type(event) for event in told] == [type(event) for event in live]
    created, joined, given, described, left = live
    assert isinstance(created, ConversationCreated)
    assert (created.kind, created.users, created.title) == (Kind.GROUP, ("ann", "ben"), "Tea")
    assert created.roles == {"ann": Role.OWNER}
    assert isinstance(joined, MembersJoined)
    assert (joined.sender, joined.users, joined.role) == ("ann", ("cyd",), Role.ADMIN)
    assert isinstance(given, RoleChanged)
    assert (given.users, given.role) == (("cyd",), Role.MEMBER)
    assert isinstance(described, ConversationChanged)
    assert (described.title, described.properties) == ("Coffee", None)
    assert isinstance(left, MembersLeft)
    assert left.users == ("cyd",)


async def entries_of(client: Client, conv: str, count: int) -> list[EntryReceived]:
    """The next so many entries of a conversation, as they come."""
    told: list[EntryReceived] = []
    async with asyncio.timeout(20):
        async for event in client.events():
            if isinstance(event, EntryReceived) and event.conv == conv:
                told.append(event)
            if len(told) == count:
                break
    return told
