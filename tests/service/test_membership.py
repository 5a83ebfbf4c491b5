"""Who sees what: newcomers from their joining on, leavers nothing after their leaving, strangers nothing at all."""

import asyncio

from posthouse.kit.tasks import start
from posthouse.protocol.codes import Code
from tests.service.bystanders import chatting
from tests.service.site import Line, Site, part


async def test_who_is_removed_receives_nothing_after(site: Site) -> None:
    """P-7.13: neither live, nor by asking, nor in the list."""
    conv = await site.group("ann", "ben", "cyd")
    ann, ben, cyd = [await site.enter(user) for user in ("ann", "ben", "cyd")]
    await ann.send(conv, "before")
    left = await site.remove(conv, "ben")
    for number in range(5):
        await ann.send(conv, f"after {number}")
    assert await cyd.caught_up(conv, left + 5) == list(range(2, left + 6))
    await ben.quiet()
    assert ben.seqs(conv) == [2, left]
    assert ben.entries(conv)[-1]["body"]["users"] == ["ben"]
    page = await ben.ask(t="fetch", conv=conv, after=0)
    assert ([entry["seq"] for entry in page["entries"]], page["head"]) == ([1, 2, left], left)
    assert (await ben.send(conv, "may I?"))["code"] == Code.NOT_MEMBER
    item = await site.listed("ben", conv)
    assert (item["left"], item["head"], item["last"]["seq"]) == (True, left, left)
    await ben.caught_up("~ben", 2)
    assert ben.entries("~ben")[-1]["body"]["left_seq"] == left


async def test_who_is_removed_while_away_learns_of_it_when_back(site: Site) -> None:
    conv = await site.group("ann", "ben")
    ben = await site.enter("ben")
    await ben.close()
    left = await site.remove(conv, "ben")
    ann = await site.enter("ann")
    await ann.send(conv, "after")
    await site.listed("ben", conv)
    await _until_account(site, "ben", 2)
    again = await site.back(ben, "ben", {"~ben": 1, conv: 1})
    assert again.welcome["changed"] == {"~ben": 2}
    page = await again.ask(t="fetch", conv="~ben", after=1)
    assert page["entries"][0]["body"]["left_seq"] == left
    await ann.send(conv, "later")
    await again.quiet()
    assert again.all("entry") == []


async def test_a_newcomer_sees_what_comes_from_their_joining_on(site: Site) -> None:
    """P-7.12."""
    conv = await site.group("ann", "ben")
    ann, cyd = await site.enter("ann"), await site.enter("cyd")
    await ann.send(conv, "before")
    joined = await site.add(conv, "cyd")
    await cyd.caught_up("~cyd", 1)
    assert cyd.entries("~cyd")[0]["body"] == {"conv": conv, "joined_seq": joined, "left_seq": 0}
    await ann.send(conv, "after")
    await cyd.caught_up(conv, joined + 1)
    page = await cyd.ask(t="fetch", conv=conv, after=0)
    assert ([entry["seq"] for entry in page["entries"]], page["complete"]) == ([joined, joined + 1], True)
    assert (await site.listed("cyd", conv))["unread"] == 1


async def test_a_channel_s_newcomer_sees_everything(site: Site) -> None:
    conv = await site.group("ann", kind="channel")
    await site.rest("PATCH", f"/v1/conversations/{part(conv)}/members/ann", {"role": "owner"})
    ann = await site.enter("ann")
    await ann.send(conv, "before")
    await site.add(conv, "cyd")
    cyd = await site.enter("cyd")
    page = await cyd.ask(t="fetch", conv=conv, after=0)
    assert [entry["seq"] for entry in page["entries"]] == [1, 2, 3, 4]


async def test_who_comes_back_sees_both_stretches_and_not_what_lies_between(site: Site) -> None:
    conv = await site.group("ann", "ben")
    ann, ben = await site.enter("ann"), await site.enter("ben")
    left = await site.remove(conv, "ben")
    await ann.send(conv, "between")
    back = await site.add(conv, "ben")
    await ben.caught_up("~ben", 3)
    await ann.send(conv, "again")
    await ben.caught_up(conv, back + 1)
    assert ben.seqs(conv) in ([left, back, back + 1], [left, back + 1])
    page = await ben.ask(t="fetch", conv=conv, after=0)
    assert [entry["seq"] for entry in page["entries"]] == [1, left, back, back + 1]


async def test_who_leaves_and_comes_back_in_the_same_moment_misses_nothing_later(site: Site) -> None:
    """The roster reads both at once; whichever way their news crosses, in the end the session follows."""
    conv = await site.group("ann", "ben")
    ann, ben = await site.enter("ann"), await site.enter("ben")
    back = 0
    for _ in range(10):
        await site.remove(conv, "ben")
        back = await site.add(conv, "ben")
    await _until_account(site, "ben", 21)
    await ben.caught_up("~ben", 21)
    ack = await ann.send(conv, "still there?")
    assert ack["seq"] == back + 1
    await ben.caught_up(conv, back + 1)


async def test_messages_that_race_with_removals_never_reach_who_was_removed(site: Site) -> None:
    conv = await site.group("ann", "ben")
    ann, ben = await site.enter("ann"), await site.enter("ben")
    stopped = asyncio.Event()

    async def talk() -> None:
        number = 0
        while not stopped.is_set():
            await ann.send(conv, f"m{number}")
            number += 1

    talking = start(talk())
    absences = []
    for _ in range(15):
        left = await site.remove(conv, "ben")
        absences.append(range(left + 1, await site.add(conv, "ben")))
    stopped.set()
    await talking
    await ben.quiet()
    seen = set(ben.seqs(conv))
    assert not [seq for absence in absences for seq in absence if seq in seen]
    assert sorted(seen) == ben.seqs(conv), "in order, each once"
    page = await ben.ask(t="fetch", conv=conv, after=0, limit=200)
    assert not seen - {entry["seq"] for entry in page["entries"]}


async def test_devices_that_enter_while_their_user_is_removed_hear_nothing_after(site: Site) -> None:
    conv = await site.group("ann", "ben")
    ann = await site.enter("ann")
    for round_ in range(10):
        removing = start(site.remove(conv, "ben"))
        lines = await asyncio.gather(*(site.enter("ben", f"d{round_}-{number}") for number in range(3)))
        left = await removing
        ack = await ann.send(conv, f"after {round_}")
        await asyncio.gather(*(line.quiet() for line in lines))
        for line in lines:
            assert not [seq for seq in line.seqs(conv) if left < seq <= ack["seq"]]
        await site.add(conv, "ben")
        await asyncio.gather(*(line.close() for line in lines))


async def test_a_group_of_ten_thousand_members_reaches_who_is_online(site: Site) -> None:
    users = [f"u{number}" for number in range(9_998)]
    conv = await site.group("ann", *users[:999])
    for first in range(999, len(users), 1_000):
        await site.add(conv, *users[first : first + 1_000])
    last = await site.add(conv, "ben")
    assert last == 11
    await site.listed("ben", conv)
    assert (
        await site.rest("POST", f"/v1/conversations/{conv}/members", {"users": ["one too many"]})
    ).code == ("too_many_members")
    ann, ben, far = [await site.enter(user) for user in ("ann", "ben", "u9997")]
    ack = await ann.send(conv, "hello, all of you")
    for line in (ben, far):
        assert await line.caught_up(conv, ack["seq"]) == [ack["seq"]]
    assert (await site.listed("ben", conv))["members"] == 10_000


# Strangers --------------------------------------------------------------------------------------------------------


async def test_strangers_get_one_and_the_same_answer_whether_there_is_a_conversation_or_not(
    site: Site,
) -> None:
    """P-17.3."""
    refused, not_found = await site.coded(Code.NOT_MEMBER), _not_found(site)
    async with chatting(site):
        conv = await site.group("cyd", "dan")
        direct = await site.group("cyd", "dan", kind="direct")
        eve = await site.enter("eve")
        for log in (conv, direct, "nowhere", "~cyd", "~nobody"):
            assert (await eve.send(log))["code"] == Code.NOT_MEMBER
            assert (await eve.ask(t="fetch", conv=log))["code"] == Code.NOT_MEMBER
        for log in (conv, direct, "nowhere"):
            path = f"/v1/conversations/{part(log)}"
            for method, where, body in (
                ("GET", path, None),
                ("GET", f"{path}/entries", None),
                ("GET", f"{path}/members", None),
                ("GET", f"{path}/cursors", None),
                ("POST", f"{path}/entries", {"body": {"text": "x"}}),
                ("POST", f"{path}/members", {"users": ["eve"]}),
                ("DELETE", f"{path}/members/cyd", None),
                ("PATCH", f"{path}/members/eve", {"role": "owner"}),
                ("PATCH", path, {"title": "mine"}),
            ):
                reply = await site.rest(method, where, body, user="eve")
                assert (reply.status, reply.code) == (404, "not_member"), (method, where)
    assert await site.coded(Code.NOT_MEMBER) == refused + 10
    assert _not_found(site) == not_found + 27


async def test_a_stranger_s_cursors_change_nothing_and_show_nobody_anything(site: Site) -> None:
    """P-12.3."""
    async with chatting(site):
        conv = await site.group("cyd", "dan")
        cyd, eve = await site.enter("cyd"), await site.enter("eve")
        await cyd.send(conv, "m")
        assert (await eve.ask(t="cursor", cursors=[{"conv": conv, "read": 2}]))["t"] == "done"
        await cyd.ask(t="cursor", cursors=[{"conv": conv, "read": 10**15}])
        await cyd.until(lambda: _cursors_shown(cyd, "cyd", 2))
        assert {of["user"] for frame in cyd.all("cursors") for of in frame["of"]} == {"cyd"}
        assert max(of["read"] for frame in cyd.all("cursors") for of in frame["of"]) == 2, (
            "nobody has read what is not"
        )
        asked = await site.rest("GET", f"/v1/conversations/{conv}/cursors", user="cyd")
        assert [cursor["user"] for cursor in asked.body["cursors"]] == ["cyd", "dan"]


async def test_a_stranger_hears_nothing_of_a_conversation_by_any_way_of_asking(site: Site) -> None:
    before = await site.coded(Code.NOT_MEMBER)
    async with chatting(site):
        conv = await site.group("cyd", "dan")
        cyd, eve = await site.enter("cyd"), await site.enter("eve")
        await eve.send(conv)
        await eve.ask(t="fetch", conv=conv)
        await eve.ask(t="cursor", cursors=[{"conv": conv, "read": 1}])
        resume = {
            "token": eve.welcome["resume_token"],
            "epoch": eve.welcome["epoch"],
            "positions": {conv: 0, "~cyd": 0},
        }
        again = await site.call()
        assert (await again.hello(site.token("eve"), resume=resume)).get("changed", {}) == {}
        await cyd.send(conv, "secret", mentions=["eve"])
        await again.quiet()
        assert (again.all("entry"), (await again.ask(t="list"))["items"]) == ([], [])
    assert await site.coded(Code.NOT_MEMBER) == before + 2


def _not_found(site: Site) -> int:
    """How often REST has answered 404, whatever was asked."""
    return sum(count for (_, status), count in site.node.answers.items() if status == 404)


def _cursors_shown(line: Line, user: str, read: int) -> bool:
    return any(
        of["user"] == user and of["read"] == read for frame in line.all("cursors") for of in frame["of"]
    )


async def _until_account(site: Site, user: str, head: int) -> None:
    """The roster has written so much of a user's account log."""

    async def reached() -> int:
        page = await site.rest("GET", f"/v1/conversations/{part('~' + user)}/entries?limit=1")
        return int(page.body.get("head", 0))

    while await reached() < head:  # noqa: ASYNC110 - it is seen from outside only
        await asyncio.sleep(0.01)
