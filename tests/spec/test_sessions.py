"""A real node keeps the rules of the protocol that no single frame shows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from posthouse.app.node import Node
from posthouse.kit.clock import ManualClock
from posthouse.messaging.notes import Note
from posthouse.model.conversation import Kind, Role
from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Appended, Change, Create, Join, Leave
from posthouse.storage.changes import kind_of
from spec.golden.tokens import APP, NOW_S, TTL_S_MAX, token_of
from tests.spec.caller import Caller, Frame, calling, entered

PATIENCE_S = 10
ANSWER_BYTES_MAX = 1 << 20
GROUP = "lounge"


async def write(
    node: Node, conv: str, client_id: str, change: Change | None = None, body: bytes = b"{}"
) -> int:
    """Append as the back end does; returns the seq."""
    kind = "message" if change is None else kind_of(change)
    outcome = await node.parts.commit.append(
        Append(
            app=APP,
            conv=conv,
            kind=kind,
            client_id=client_id,
            made_at_ms=0,
            body=body,
            change=change,
            trusted=True,
        )
    )
    assert isinstance(outcome, Appended)
    return outcome.seq


async def group(node: Node, *users: str, conv: str = GROUP) -> None:
    """A group, once each of its users has it in their list."""
    members = tuple((user, Role.MEMBER) for user in users)
    await write(node, conv, "create", Create(kind=Kind.GROUP, members=members))

    async def all_listed() -> bool:
        inboxes = await node.database.inboxes(APP, users)
        return all(inbox is not None and conv in inbox.convs for inbox in inboxes)

    await until(all_listed)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - it is seen from outside only
            await asyncio.sleep(0.01)


def send(client_id: str, body: str = '{"text":"hi"}', conv: str = GROUP) -> bytes:
    made_at = NOW_S * 1000
    return (
        f'{{"t":"send","conv":"{conv}","client_id":"{client_id}","made_at":{made_at},"body":{body}}}'.encode()
    )


async def sent(caller: Caller, client_id: str, body: str = '{"text":"hi"}', conv: str = GROUP) -> Frame:
    """The answer to a send."""
    await caller.say_bytes(send(client_id, body, conv))
    return await caller.hear_of("ack", "error")


async def advance(node: Node, seconds: float) -> None:
    clock = node.gateway.clock
    assert isinstance(clock, ManualClock)
    await clock.advance(seconds)


async def position(caller: Caller, conv: str = GROUP) -> int:
    """The seq of the newest entry of a log."""
    page = await caller.ask({"t": "fetch", "ref": 9, "conv": conv, "limit": 1})
    return int(page["head"])


# Sending ----------------------------------------------------------------------------------------------------------


async def test_a_repeated_send_gets_the_same_seq_also_in_another_session(fresh_node: Node) -> None:
    """P-8.7."""
    await group(fresh_node, "ann")
    async with entered(fresh_node) as caller:
        first = await sent(caller, "k")
        assert await sent(caller, "k") == first
    async with entered(fresh_node) as caller:
        assert await sent(caller, "k") == first
        assert await position(caller) == first["seq"] == 2


async def test_the_same_name_with_other_bytes_is_a_conflict(fresh_node: Node) -> None:
    """P-8.3: also when the JSON means the same."""
    await group(fresh_node, "ann")
    async with entered(fresh_node) as caller:
        await sent(caller, "k", '{"a":1,"b":2}')
        for other in ('{"b":2,"a":1}', '{"a": 1,"b":2}', '{"a":1.0,"b":2}'):
            assert (await sent(caller, "k", other))["code"] == Code.CONFLICT


async def test_a_refusal_names_what_is_refused(fresh_node: Node) -> None:
    """P-13.7: a send by its names, a request by its number."""
    async with entered(fresh_node) as caller:
        refused = await sent(caller, "k", conv="nowhere")
        assert (refused["t"], refused["conv"], refused["client_id"]) == ("error", "nowhere", "k")
        assert "ref" not in refused
        refused = await caller.ask({"t": "fetch", "ref": 5, "conv": "nowhere"})
        assert (refused["t"], refused["ref"]) == ("error", 5)
        assert refused["reason"]


async def test_nobody_sends_under_another_s_name(fresh_node: Node) -> None:
    """P-17.4: sender and device are those of the session, whatever the send says."""
    await group(fresh_node, "ann", "ben")
    async with entered(fresh_node) as phone, entered(fresh_node, "ben") as ben:
        await phone.say_bytes(send("k")[:-1] + b',"sender":"ben","device":"tablet"}')
        assert (await phone.hear_of("ack", "error"))["t"] == "ack"
        entry = (await ben.hear_of("entry"))["entry"]
        assert (entry["client_id"], entry["sender"], entry["device"]) == ("k", "ann", "phone")


async def test_a_body_is_given_out_as_the_bytes_that_came(fresh_node: Node) -> None:
    """P-7.10."""
    await group(fresh_node, "ann", "ben")
    body = '{ "z":1.50, "a":"\\u00e9 \\/" ,"n":[1E3,-0] }'
    async with entered(fresh_node) as caller, entered(fresh_node, "ben") as ben:
        await caller.say_bytes(send("k", body))
        assert body in str(await ben.socket.recv())
        await ben.say({"t": "fetch", "ref": 1, "conv": GROUP})
        assert body in str(await ben.socket.recv())


async def test_the_sender_gets_the_ack_and_everybody_else_the_entry(fresh_node: Node) -> None:
    """P-8.13: the sender's other devices too."""
    await group(fresh_node, "ann", "ben")
    async with (
        entered(fresh_node) as phone,
        entered(fresh_node, "ann", "tablet") as tablet,
        entered(fresh_node, "ben") as ben,
    ):
        ack = await sent(phone, "k")
        for other in (tablet, ben):
            entry = (await other.hear_of("entry"))["entry"]
            assert (entry["seq"], entry["client_id"], entry["sender"], entry["device"]) == (
                ack["seq"],
                "k",
                "ann",
                "phone",
            )
            assert (entry["at_ms"], entry["ordinal"]) == (ack["at_ms"], ack["ordinal"])
        await phone.say({"t": "ping"})
        assert await phone.hear() == {"t": "pong"}


async def test_a_stranger_cannot_tell_whether_a_conversation_exists(fresh_node: Node) -> None:
    """P-17.3."""
    await group(fresh_node, "ann")
    async with entered(fresh_node, "eve") as eve:
        for conv in (GROUP, "nowhere", "~ann", "~nobody", "=made-up"):
            refusals = [
                await sent(eve, f"k-{conv}", conv=conv),
                await eve.ask({"t": "fetch", "ref": 1, "conv": conv}),
            ]
            assert {(each["t"], each["code"]) for each in refusals} == {("error", Code.NOT_MEMBER)}
            assert len({each["reason"] for each in refusals}) == 1


# Membership -------------------------------------------------------------------------------------------------------


async def test_who_leaves_hears_of_it_and_nothing_after_it(fresh_node: Node) -> None:
    """P-7.13, P-9.14: the last entry is their own `member.left`, live and fetched."""
    await group(fresh_node, "ann", "ben")
    async with entered(fresh_node, "ben") as ben:
        left_seq = await write(fresh_node, GROUP, "remove", Leave(("ben",)))
        await write(fresh_node, GROUP, "secret", body=b'{"text":"now he is gone"}')
        seen = [await ben.hear_of("entry") for _ in range(2)]
        kinds = {each["entry"]["kind"]: each["entry"] for each in seen}
        assert kinds["member.left"]["seq"] == left_seq
        assert kinds["conversation.left"]["body"] == {"conv": GROUP, "joined_seq": 0, "left_seq": left_seq}
        page = await ben.ask({"t": "fetch", "ref": 1, "conv": GROUP, "after": 0})
        assert ([each["seq"] for each in page["entries"]], page["head"], page["complete"]) == (
            [1, 2],
            left_seq,
            True,
        )


async def test_who_joins_hears_of_it_in_the_account_log_and_then_of_everything(fresh_node: Node) -> None:
    """P-7.12, P-9.11: and sees nothing of what was before."""
    await group(fresh_node, "ann")
    await write(fresh_node, GROUP, "before")
    async with entered(fresh_node, "ben") as ben:
        joined_seq = await write(fresh_node, GROUP, "invite", Join(("ben",)))
        joined = (await ben.hear_of("entry"))["entry"]
        assert (joined["conv"], joined["kind"]) == ("~ben", "conversation.joined")
        assert joined["body"] == {"conv": GROUP, "joined_seq": joined_seq, "left_seq": 0}
        later = await write(fresh_node, GROUP, "after")
        assert (await ben.hear_of("entry"))["entry"]["seq"] == later
        page = await ben.ask({"t": "fetch", "ref": 1, "conv": GROUP, "after": 0})
        assert [each["seq"] for each in page["entries"]] == [joined_seq, later]


async def test_who_joins_sees_nothing_of_what_was_before_also_when_hints_are_lost(fresh_node: Node) -> None:
    """P-7.12: the node is told of nothing in the group while ben joins, and then reads the log from where it stood."""
    await group(fresh_node, "ann")
    async with entered(fresh_node), entered(fresh_node, "ben") as ben:
        async with losing_hints(fresh_node, GROUP):
            await write(fresh_node, GROUP, "before")
            joined_seq = await write(fresh_node, GROUP, "invite", Join(("ben",)))
            assert (await ben.hear_of("entry"))["entry"]["kind"] == "conversation.joined"
        later = await write(fresh_node, GROUP, "after")
        seqs = [(await ben.hear_of("entry"))["entry"]["seq"]]
        while seqs[-1] != later:
            seqs.append((await ben.hear_of("entry"))["entry"]["seq"])
        assert min(seqs) >= joined_seq


@asynccontextmanager
async def losing_hints(node: Node, conv: str) -> AsyncIterator[None]:
    """What the bus should bring of one conversation is lost."""
    hear = node.gateway.notes.hear

    def drop_some(notes: Sequence[Note]) -> None:
        hear([note for note in notes if getattr(note, "conv", "") != conv])

    node.parts.publisher.local = drop_some
    yield
    node.parts.publisher.local = hear


# Resuming ---------------------------------------------------------------------------------------------------------


async def test_a_resume_names_every_log_in_which_something_was_missed_and_no_other(fresh_node: Node) -> None:
    """P-10.4."""
    await group(fresh_node, "ann")
    await group(fresh_node, "ann", conv="quiet")
    async with calling(fresh_node) as caller:
        welcome = await caller.enter()
    await write(fresh_node, GROUP, "missed")
    await group(fresh_node, "ann", conv="new")
    positions = {"~ann": welcome["account_head"], GROUP: 1, "quiet": 1, "long ago": 7}
    resume = {"token": welcome["resume_token"], "epoch": welcome["epoch"], "positions": positions}
    async with calling(fresh_node) as caller:
        again = await caller.enter(resume=resume)
    assert again["resumed"] is True
    assert again["changed"] == {GROUP: 2, "new": 1, "~ann": again["account_head"]}


async def test_a_log_that_the_resume_does_not_name_counts_as_unread(fresh_node: Node) -> None:
    """P-10.2."""
    await group(fresh_node, "ann")
    async with calling(fresh_node) as caller:
        welcome = await caller.enter()
    async with calling(fresh_node) as caller:
        again = await caller.enter(resume={"token": welcome["resume_token"], "epoch": welcome["epoch"]})
    assert again["changed"] == {GROUP: 1, "~ann": welcome["account_head"]}


@pytest.mark.parametrize(
    "change", [{"epoch": "another"}, {"positions": {GROUP: 99}}, {"positions": {"~ann": 99}}]
)
async def test_positions_that_cannot_be_trusted_are_reset(fresh_node: Node, change: Frame) -> None:
    """P-10.5: another epoch, or a position above the head."""
    await group(fresh_node, "ann")
    async with calling(fresh_node) as caller:
        welcome = await caller.enter()
    resume = {"token": welcome["resume_token"], "epoch": welcome["epoch"]} | change
    async with calling(fresh_node) as caller:
        again = await caller.enter(resume=resume)
    assert again.get("resumed", False) is False
    assert again["reset"] == Code.EPOCH_CHANGED
    assert "changed" not in again


@pytest.mark.parametrize(("user", "device"), [("ben", "phone"), ("ann", "tablet")])
async def test_a_resume_token_opens_nothing_for_another_user_or_device(
    fresh_node: Node, user: str, device: str
) -> None:
    """P-10.3."""
    async with calling(fresh_node) as caller:
        welcome = await caller.enter("ann", "phone")
    async with calling(fresh_node) as caller:
        resume = {"token": welcome["resume_token"], "epoch": welcome["epoch"]}
        refused = await caller.enter(user, device, resume=resume)
        assert (refused["t"], refused["code"]) == ("goaway", Code.RESUME_REFUSED)


# The session's own life -------------------------------------------------------------------------------------------


async def test_a_newer_session_of_the_device_ends_the_older(fresh_node: Node) -> None:
    """P-5.5: and nobody else's."""
    async with (
        entered(fresh_node) as older,
        entered(fresh_node, "ann", "tablet") as tablet,
        entered(fresh_node) as newer,
    ):
        (goaway,) = await older.hear_to_the_end()
        assert goaway["code"] == older.close_code == Code.REPLACED
        assert await tablet.is_alive()
        assert await newer.is_alive()


async def test_welcome_says_what_the_client_needs_to_know(fresh_node: Node) -> None:
    """P-5.3."""
    async with calling(fresh_node) as caller:
        welcome = await caller.enter("ann", "phone", heartbeat_s=7)
    assert (welcome["t"], welcome["user"], welcome["device"]) == ("welcome", "ann", "phone")
    assert all(welcome[name] for name in ("session", "node", "epoch", "resume_token"))
    assert welcome["at_ms"] == fresh_node.gateway.clock.now_ms()
    assert (welcome["heartbeat_s"], welcome["account_head"]) == (7, 0)
    assert set(welcome["limits"]) == {"frame_bytes_max", "body_bytes_max", "in_flight_max", "repeat_window_s"}


async def test_silence_ends_a_session_after_twice_its_own_interval_and_a_second(fresh_node: Node) -> None:
    """P-6.2: any frame counts as a sign of life."""
    async with calling(fresh_node) as hasty, calling(fresh_node) as patient:
        await hasty.enter("ann", heartbeat_s=5)
        await patient.enter("ben", heartbeat_s=30)
        await advance(fresh_node, 10.5)
        assert await hasty.is_alive()
        await advance(fresh_node, 10.5)
        assert await hasty.is_alive()
        await advance(fresh_node, 12)
        (goaway,) = await hasty.hear_to_the_end()
        assert goaway["code"] == hasty.close_code == Code.HEARTBEAT_MISSED
        assert await patient.is_alive()


async def test_who_does_not_say_hello_is_sent_away(fresh_node: Node) -> None:
    """P-5.2."""
    async with calling(fresh_node) as caller:
        assert (await caller.enter("ben"))["t"] == "welcome"
    async with calling(fresh_node) as silent:
        await advance(fresh_node, 11)
        await silent.hear_to_the_end()
        assert silent.close_code == Code.HELLO_TIMEOUT


async def test_a_session_ends_with_its_token_unless_that_is_renewed(fresh_node: Node) -> None:
    """P-4.4, P-4.5: the token of the vectors lives for an hour."""
    async with calling(fresh_node) as careless, calling(fresh_node) as careful:
        await careless.enter("ann", heartbeat_s=300)
        await careful.enter("ben", heartbeat_s=300)
        for _ in range(8):
            await advance(fresh_node, 400)
            await careless.say({"t": "ping"})
            await careful.say({"t": "ping"})
            await asyncio.gather(careless.hear(), careful.hear())
        renewal = {"t": "renew", "ref": 5, "token": token_of("ben", exp=NOW_S + TTL_S_MAX)}
        assert await careful.ask(renewal) == {"t": "done", "ref": 5}
        await advance(fresh_node, 401)
        (goaway,) = await careless.hear_to_the_end()
        assert goaway["code"] == careless.close_code == Code.TOKEN_EXPIRED
        assert await careful.is_alive()


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "ben"},
        {"device": "tablet"},
    ],
)
async def test_a_session_is_not_renewed_with_a_token_of_somebody_else(
    fresh_node: Node, claims: Frame
) -> None:
    """P-4.5: the refusal does not end the session."""
    async with entered(fresh_node) as caller:
        answer = await caller.ask({"t": "renew", "ref": 5, "token": token_of(**{"sub": "ann"} | claims)})
        assert (answer["t"], answer["ref"], answer.get("code")) == ("error", 5, Code.TOKEN_INVALID)
        assert await caller.is_alive()


# Cursors ----------------------------------------------------------------------------------------------------------


async def move(node: Node, caller: Caller, read: int) -> list[Frame]:
    """Move a cursor; returns what was heard up to the answer."""
    return await hear_until(
        node, caller, {"t": "cursor", "ref": 3, "cursors": [{"conv": GROUP, "read": read}]}, ("done", "error")
    )


async def hear_until(node: Node, caller: Caller, frame: Frame, ends: tuple[str, ...]) -> list[Frame]:
    """Say something, let time pass, and return what is heard up to a frame of these kinds."""

    async def hear() -> list[Frame]:
        heard = [await caller.hear()]
        while heard[-1]["t"] not in ends:
            heard.append(await caller.hear())
        return heard

    await caller.say(frame)
    hearing = asyncio.ensure_future(hear())

    async def heard() -> bool:
        await advance(node, 0.5)
        return hearing.done()

    await until(heard)
    return hearing.result()


async def shown(node: Node, witness: Caller) -> list[Frame]:
    """The cursors of others that a member has been shown so far: those before their own, which they move now."""
    heard = await move(node, witness, 1)
    while not heard or heard[-1].get("of", [{}])[-1].get("user") != "ann":
        heard.append(await witness.hear_of("cursors"))
    return [at for frame in heard if frame["t"] == "cursors" for at in frame["of"] if at["user"] != "ann"]


async def test_cursors_are_shown_to_all_members_and_all_devices(fresh_node: Node) -> None:
    """P-12.4, P-12.6."""
    await group(fresh_node, "ann", "ben")
    async with (
        entered(fresh_node) as phone,
        entered(fresh_node, "ann", "tablet") as tablet,
        entered(fresh_node, "ben") as ben,
    ):
        assert (await move(fresh_node, phone, 1))[-1] == {"t": "done", "ref": 3}
        for each in (tablet, ben):
            moved = [{"user": "ann", "read": 1, "delivered": 1}]
            assert await each.hear_of("cursors") == {"t": "cursors", "conv": GROUP, "of": moved}


async def test_the_cursor_of_a_member_is_shown(fresh_node: Node) -> None:
    """P-12.6. Without this the next three would prove nothing."""
    await group(fresh_node, "ann", "ben")
    async with entered(fresh_node) as ann, entered(fresh_node, "ben") as ben:
        await move(fresh_node, ben, 1)
        assert await shown(fresh_node, ann) == [{"user": "ben", "read": 1, "delivered": 1}]


async def test_the_cursor_of_a_stranger_is_shown_to_nobody(fresh_node: Node) -> None:
    """P-12.3."""
    await group(fresh_node, "ann")
    async with entered(fresh_node) as ann, entered(fresh_node, "eve") as eve:
        await move(fresh_node, eve, 1)
        assert await shown(fresh_node, ann) == []


async def test_a_cursor_beyond_the_head_is_shown_as_the_head(fresh_node: Node) -> None:
    """P-12.3."""
    await group(fresh_node, "ann", "ben")
    async with entered(fresh_node) as ann, entered(fresh_node, "ben") as ben:
        await move(fresh_node, ben, 999)
        assert await shown(fresh_node, ann) == [{"user": "ben", "read": 1, "delivered": 1}]


async def test_a_cursor_that_goes_back_is_merged_by_whoever_sees_it(fresh_node: Node) -> None:
    """P-12.2, P-12.6: it may be shown, but the list says how far the user has really read."""
    await group(fresh_node, "ann", "ben")
    await write(fresh_node, GROUP, "k")
    async with entered(fresh_node, "ben") as ben:
        await move(fresh_node, ben, 2)
        await move(fresh_node, ben, 1)
        listed = await hear_until(fresh_node, ben, {"t": "list", "ref": 4}, ("conversations",))
        assert listed[-1]["items"][0]["read"] == 2


# Answers ----------------------------------------------------------------------------------------------------------


async def fill(node: Node, conv: str, entries: int) -> None:
    body = b'{"text":"' + b"x" * 32_000 + b'"}'
    await asyncio.gather(*(write(node, conv, f"m{n}", body=body) for n in range(entries)))


async def test_a_page_of_large_entries_comes_in_parts_and_harms_nobody(fresh_node: Node) -> None:
    """P-11.3, P-11.4: 80 bodies of 32 KiB, read at leisure."""
    await group(fresh_node, "ann")
    await fill(fresh_node, GROUP, 80)
    async with entered(fresh_node) as caller:
        after, complete, seqs = 0, False, []
        while not complete:
            await caller.say({"t": "fetch", "ref": 1, "conv": GROUP, "after": after, "limit": 200})
            await asyncio.sleep(0.02)
            page = await caller.hear()
            assert page["t"] == "entries"
            seqs += [each["seq"] for each in page["entries"]]
            assert len(str(page)) < ANSWER_BYTES_MAX
            after, complete = seqs[-1], page["complete"]
        assert seqs == list(range(1, 82))
        assert await caller.is_alive()


async def test_a_list_of_large_conversations_comes_in_parts_and_harms_nobody(fresh_node: Node) -> None:
    """P-11.4, P-11.5: 80 last entries of 32 KiB."""
    convs = [f"g{n}" for n in range(80)]
    await asyncio.gather(*(group(fresh_node, "ann", conv=conv) for conv in convs))
    await asyncio.gather(*(fill(fresh_node, conv, 1) for conv in convs))
    async with entered(fresh_node) as caller:
        page, listed = "", list[str]()
        while page or not listed:
            await caller.say({"t": "list", "ref": 1, "page": page})
            await asyncio.sleep(0.02)
            answer = await caller.hear()
            assert answer["t"] == "conversations"
            listed += [each["conv"] for each in answer["items"]]
            assert len(str(answer)) < ANSWER_BYTES_MAX
            page = answer.get("next_page", "")
        assert sorted(listed) == sorted(convs)
        assert await caller.is_alive()
