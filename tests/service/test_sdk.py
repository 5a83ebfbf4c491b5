"""What an application does with the SDK besides talking, on a real node with both engines."""

import pytest

from posthouse.client import Client, RequestRefused
from posthouse.model.conversation import Role
from posthouse.protocol.codes import Code
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
