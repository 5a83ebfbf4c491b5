"""What people do in a chat, end to end, on both engines."""

import asyncio

import pytest

from posthouse.protocol.codes import Code
from tests.service.site import Line, Site, part


def texts(entries: list[dict[str, object]]) -> list[object]:
    return [entry["body"]["text"] for entry in entries]  # type: ignore[index]


async def shown(line: Line, user: str) -> list[dict[str, object]]:
    """The cursors of a user that a line was shown, once there are any."""

    def of_user() -> list[dict[str, object]]:
        return [of for frame in line.all("cursors") for of in frame["of"] if of["user"] == user]

    await line.until(of_user)
    return of_user()


async def test_two_people_chat(site: Site) -> None:
    """P-7.7."""
    conv = await site.group("ann", "ben", kind="direct")
    ann, ben = await site.enter("ann"), await site.enter("ben")
    first = await ann.send(conv, "hello")
    assert (first["t"], first["seq"], first["ordinal"]) == ("ack", 2, 1)
    await ben.caught_up(conv, 2)
    second = await ben.send(conv, "hello yourself", reply_to=2, mentions=["ann"])
    await ann.caught_up(conv, 3)
    (heard,) = ann.entries(conv)
    assert (heard["sender"], heard["reply_to"], heard["mentions"]) == ("ben", 2, ["ann"])
    assert (heard["seq"], heard["at_ms"]) == (second["seq"], second["at_ms"])
    assert texts(ben.entries(conv)) == ["hello"]


async def test_all_devices_of_a_user_stay_in_step(site: Site) -> None:
    """P-7.1, P-8.13: and nobody else hears of the account log."""
    conv = await site.group("ann", "ben")
    phone, tablet, ben = await site.enter("ann"), await site.enter("ann", "tablet"), await site.enter("ben")
    await phone.send(conv, "from the phone")
    await tablet.send(conv, "from the tablet")
    await ben.send(conv, "from ben")
    assert texts(ben.entries(conv)) == ["from the phone", "from the tablet"]
    await phone.caught_up(conv, 4)
    await tablet.caught_up(conv, 4)
    assert texts(phone.entries(conv)) == ["from the tablet", "from ben"]
    assert texts(tablet.entries(conv)) == ["from the phone", "from ben"]
    joined = await site.group("ann", conv=f"{conv}-other")
    await asyncio.gather(*(line.caught_up("~ann", 2) for line in (phone, tablet)))
    await ben.quiet()
    assert ben.seqs("~ann") == []
    assert phone.entries("~ann")[-1]["body"]["conv"] == joined


async def test_custom_content_is_passed_on_and_does_not_count_as_unread(site: Site) -> None:
    """P-7.8, P-16.5."""
    conv = await site.group("ann", "ben")
    ann, ben = await site.enter("ann"), await site.enter("ben")
    ack = await ann.send(conv, kind="x.poll", body={"ask": "Tea?", "of": [1, 2.5, None, {"é": "😀"}]})
    await ben.caught_up(conv, ack["seq"])
    assert (ben.entries(conv)[0]["kind"], ben.entries(conv)[0]["body"]["of"][3]) == ("x.poll", {"é": "😀"})
    assert (await site.listed("ben", conv)).get("unread", 0) == 0


async def test_history_is_read_in_both_directions(site: Site) -> None:
    """P-11.2, P-11.3."""
    conv = await site.group("ann", "ben")
    ann = await site.enter("ann")
    for number in range(9):
        await ann.post(conv, f"m{number}")
    await ann.until(lambda: ann.answers("m8"))
    newest = await ann.ask(t="fetch", conv=conv, limit=4)
    assert [entry["seq"] for entry in newest["entries"]] == [10, 9, 8, 7]
    assert (newest["head"], newest["first_seq"], newest["complete"]) == (10, 1, False)
    older = await ann.ask(t="fetch", conv=conv, before=7, limit=10)
    assert [entry["seq"] for entry in older["entries"]] == [6, 5, 4, 3, 2, 1]
    assert older["complete"]
    rising = await ann.ask(t="fetch", conv=conv, after=8, limit=10)
    assert (texts(rising["entries"]), rising["complete"]) == (["m7", "m8"], True)
    over_http = await site.rest("GET", f"/v1/conversations/{part(conv)}/entries?after=8", user="ben")
    assert over_http.body["entries"] == rising["entries"]


async def test_the_list_shows_last_entries_unread_and_mentions(site: Site) -> None:
    """P-7.15, P-11.6."""
    quiet, busy = await site.group("ann", "ben"), await site.group("ann", "ben", title="Busy")
    ann, ben = await site.enter("ann"), await site.enter("ben")
    for number in range(3):
        await ann.send(busy, f"m{number}", mentions=["ben"] if number else [])
    listed = (await ben.ask(t="list"))["items"]
    assert [item["conv"] for item in listed] == [busy, quiet]
    item = listed[0]
    assert (item["title"], item["members"], item["kind"], item["role"]) == ("Busy", 2, "group", "member")
    assert (item["head"], item["unread"], item["mentions"], item["last"]["body"]) == (4, 3, 2, {"text": "m2"})
    assert (await ben.ask(t="cursor", cursors=[{"conv": busy, "read": 3}]))["t"] == "done"
    item = (await ben.ask(t="list", limit=1))["items"][0]
    assert (item["unread"], item["mentions"], item["read"], item["delivered"]) == (1, 1, 3, 3)
    mine = await site.listed("ann", busy)
    assert (mine.get("unread", 0), mine.get("mentions", 0)) == (0, 0), "who writes has read"


async def test_the_list_comes_in_pages(site: Site) -> None:
    """P-11.5."""
    convs = [await site.group("ann") for _ in range(7)]
    ann = await site.enter("ann")
    found: list[str] = []
    page = ""
    while True:
        answer = await ann.ask(t="list", limit=3, page=page)
        found += [item["conv"] for item in answer["items"]]
        page = answer.get("next_page", "")
        if not page:
            break
    assert found == convs[::-1]


async def test_cursors_are_seen_by_others(site: Site) -> None:
    """P-12.1, P-12.2, P-12.6: they are the user's, whichever device moves them."""
    conv = await site.group("ann", "ben")
    ann, ben, tablet = await site.enter("ann"), await site.enter("ben"), await site.enter("ben", "tablet")
    for number in range(3):
        await ann.send(conv, f"m{number}")
    await ben.ask(t="cursor", cursors=[{"conv": conv, "read": 3, "delivered": 4}])

    for line in (ann, tablet):
        assert await shown(line, "ben") == [{"user": "ben", "read": 3, "delivered": 4}]
    asked = await site.rest("GET", f"/v1/conversations/{part(conv)}/cursors?users=ben", user="ann")
    assert asked.body["cursors"] == [{"user": "ben", "read": 3, "delivered": 4}]
    await ben.ask(t="cursor", cursors=[{"conv": conv, "read": 1}])
    assert (await site.listed("ben", conv))["read"] == 3, "a cursor never goes back"


async def test_in_large_conversations_cursors_are_asked_for_and_not_pushed(site: Site) -> None:
    """P-12.7."""
    conv = await site.group("ann", "ben", *(f"u{number}" for number in range(99)))
    ann, ben = await site.enter("ann"), await site.enter("ben")
    ack = await ann.send(conv, "m")
    await ben.caught_up(conv, ack["seq"])
    assert (await ben.ask(t="cursor", cursors=[{"conv": conv, "read": 2}]))["t"] == "done"
    await ann.quiet()
    assert (ann.all("cursors"), ben.all("cursors")) == ([], [])
    asked = await site.rest("GET", f"/v1/conversations/{part(conv)}/cursors?users=ben", user="ann")
    assert asked.body["cursors"] == [{"user": "ben", "read": 2, "delivered": 2}]


async def test_in_a_channel_few_write_and_many_read(site: Site) -> None:
    members = ({"user": "ann", "role": "owner"}, "ben")
    reply = await site.rest(
        "POST", "/v1/conversations", {"kind": "channel", "conv": "news", "members": members}
    )
    assert reply.status == 200
    await site.listed("ben", "news")
    ann, ben = await site.enter("ann"), await site.enter("ben")
    await ann.send("news", "extra")
    await ben.caught_up("news", 2)
    assert (await ben.send("news", "me too"))["code"] == Code.NOT_ALLOWED
    assert (
        await site.rest("PATCH", "/v1/conversations/news/members/ben", {"role": "member"}, user="ann")
    ).status == 200
    assert (await ben.send("news", "now"))["t"] == "ack"


async def test_roles_say_who_may_manage(site: Site) -> None:
    made = await site.rest(
        "POST", "/v1/conversations", {"kind": "group", "members": ["ben", "cyd"]}, user="ann"
    )
    conv = made.body["conv"]
    path = f"/v1/conversations/{part(conv)}/members"
    assert (await site.rest("POST", path, {"users": ["dan"]}, user="ben")).code == "not_allowed"
    assert (await site.rest("PATCH", f"{path}/ben", {"role": "admin"}, user="ann")).status == 200
    assert (await site.rest("POST", path, {"users": ["dan"]}, user="ben")).status == 200
    assert (await site.rest("DELETE", f"{path}/ann", user="ben")).code == "not_allowed"
    assert (await site.rest("DELETE", f"{path}/cyd", user="cyd")).status == 200, "anyone may leave"
    assert (await site.rest("GET", path, user="cyd")).code == "not_member"


@pytest.mark.parametrize("ids", [("|trey|", "[foo]^"), ("王小明", "ann b'\"%/"), ("a" * 128, "é~=")])
async def test_any_ids_can_chat(site: Site, ids: tuple[str, str]) -> None:
    one, other = ids
    conv = await site.group(one, other, kind="direct")
    ann, ben = await site.enter(one), await site.enter(other)
    await ann.send(conv, "hi", mentions=[other])
    await ben.caught_up(conv, 2)
    assert ben.entries(conv)[0]["sender"] == one
    assert (await site.listed(other, conv))["mentions"] == 1
