"""Ids are opaque: whatever they contain, they come through paths, queries and bodies unchanged."""

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from posthouse.model.ids import check_id
from tests.api.site import ACME, Site, part

ODD = [
    "|trey|", "[foo]^", "a/b", "/", "//", "a%2Fb", "%", "%25", "%252F", "100%41", "..", ".", "../..", "{x}", "{user}",
    "a b", "a+b", "a?b", "a#b", "a;b", "a&b=c", "a\\b", "=abc", "~x", "é", "日本語", "🙂", "\u202ex", "null", "0", "-1",
    "a" * 128, "ü" * 64, "'; DROP TABLE user; --", '"', "<script>", "x\u2028y", "members", "entries",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_user_is_described_added_and_read(site: Site, name: str) -> None:
    put = await site.ask("PUT", f"/users/{part(name)}", ACME, {"name": "x"})
    assert (put.status, put.body["user"]) == (200, name)
    assert (await site.get(f"/users?ids={part(name)}", ACME)).body["users"][0]["user"] == name
    await site.post("/conversations", ACME, {"kind": "group", "conv": "team", "members": [name]})
    changed = await site.ask("PATCH", f"/conversations/team/members/{part(name)}", ACME, {"role": "admin"})
    assert changed.status == 200
    found = await site.get(f"/conversations/team/members?after={part('')}", ACME)
    assert [member["user"] for member in found.body["members"]] == [name]


@pytest.mark.parametrize("conv", [name for name in ODD if name[0] not in "~="])
async def test_an_odd_conversation_is_created_written_to_and_read(site: Site, conv: str) -> None:
    await site.post("/conversations", ACME, {"kind": "group", "conv": conv, "members": ["alice"]})
    assert (await site.say(ACME, conv, "hello")).body["conv"] == conv
    found = await site.get(f"/conversations/{part(conv)}/entries?after=1", ACME)
    assert [entry["conv"] for entry in found.body["entries"]] == [conv]


def is_id(text: str) -> bool:
    try:
        check_id(text, "user")
    except ValueError:
        return False
    return True


@given(st.text(min_size=1, max_size=40).filter(is_id))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_id_at_all_comes_through(site: Site, name: str) -> None:
    assert (await site.ask("PUT", f"/users/{part(name)}", ACME, {})).body["user"] == name
