"""What `Log.append` promises: one order without gaps, each send once, refusals that harm nobody else."""

import asyncio

import msgspec
import pytest

from posthouse.model.entry import Entry
from posthouse.model.ids import direct_id
from posthouse.protocol.codes import Code
from posthouse.storage.base import FUTURE_MS_MAX, REPEAT_WINDOW_MS, Appended, Refused
from posthouse.testing.contracts.storage.opened import OpenDatabase, Opened
from posthouse.testing.contracts.storage.talk import Talk, seqs, whole_list


class Appending(Opened):
    async def test_entries_are_numbered_from_1_without_gaps(self, talk: Talk) -> None:
        """G3: seq 1 is the creation; each entry of a batch takes the next number, in the batch's order."""
        outcomes = await talk.done(
            talk.group("g", "ann", "ben"), *(talk.send("g", "ann", f"{n}") for n in range(5))
        )
        assert [each.seq for each in outcomes] == [1, 2, 3, 4, 5, 6]
        assert [each.ordinal for each in outcomes] == [0, 1, 2, 3, 4, 5]
        assert await talk.texts("g") == ["0", "1", "2", "3", "4"]
        assert await talk.seqs("g") == [1, 2, 3, 4, 5, 6]

    async def test_an_entry_is_read_as_it_was_sent(self, talk: Talk) -> None:
        """Every field comes back, the body byte for byte."""
        body = '{"text":"Grüße 👋 \\u2028","n":[1,2.50,null]}'.encode()
        await talk.done(talk.group("g", "ann", "ben"))
        sent = talk.send("g", "ann", body=body, reply_to=1, mentions=("ben",), kind="x.poll", client_id="c/1")
        (outcome,) = await talk.done(sent)
        (entry,) = (await talk.page("g", "ben", after=1)).entries
        assert entry == Entry(
            conv="g", seq=2, kind="x.poll", at_ms=outcome.at_ms, ordinal=0, body=msgspec.Raw(body), sender="ann",
            device="phone", client_id="c/1", reply_to=1, mentions=("ben",),
        )  # fmt: skip

    async def test_a_repeated_send_is_answered_with_the_same_seq(self, talk: Talk) -> None:
        """G2: repeated in a later batch, the first answer comes again and the log has the entry once."""
        send = talk.send("g", "ann", "once")
        (_, first, _) = await talk.done(talk.group("g", "ann"), send, talk.send("g", "ann", "between"))
        (again,) = await talk.done(send)
        assert again == first._replace(duplicate=True)
        assert await talk.texts("g") == ["once", "between"]

    async def test_a_send_repeated_within_one_batch_is_in_the_log_once(self, talk: Talk) -> None:
        """G2: two copies that meet in one group commit are one entry."""
        send = talk.send("g", "ann", "once")
        (_, first, second) = await talk.done(talk.group("g", "ann"), send, send)
        assert (first.seq, second.seq, second.duplicate) == (2, 2, True)
        assert await talk.texts("g") == ["once"]

    async def test_two_callers_sending_the_same_at_once_make_one_entry(self, talk: Talk) -> None:
        """G2, the hazard of deduplicating before the lock: both callers get the same seq."""
        await talk.done(talk.group("g", "ann", "ben"))
        for n in range(20):
            send = talk.send("g", "ann", str(n))
            (first,), (second,) = await asyncio.gather(talk.append(send), talk.append(send))
            assert isinstance(first, Appended)
            assert isinstance(second, Appended)
            assert first.seq == second.seq
            assert {first.duplicate, second.duplicate} == {True, False}
        assert await talk.seqs("g") == list(range(1, 22))

    async def test_many_callers_leave_no_gap_and_keep_their_own_order(self, talk: Talk) -> None:
        """G3: concurrent batches over the same logs, in different order, do not deadlock, skip or repeat a number."""
        users = [f"u{n}" for n in range(6)]
        logs = ["g1", "g2", "g3"]
        await talk.done(*(talk.group(log, *users) for log in logs))

        async def caller(user: str, turn: int) -> None:
            order = logs[turn % 3 :] + logs[: turn % 3]
            for n in range(10):
                await talk.done(*(talk.send(log, user, f"{user} {n}") for log in order))

        await asyncio.gather(*(caller(user, turn) for turn, user in enumerate(users)))
        for log in logs:
            assert await talk.seqs(log) == list(range(1, 62))
            texts = await talk.texts(log)
            for user in users:
                assert [text for text in texts if text.startswith(f"{user} ")] == [
                    f"{user} {n}" for n in range(10)
                ]

    async def test_a_repeat_is_known_after_reopening(self, open_database: OpenDatabase) -> None:
        """G1, G2: what was acknowledged is there after a restart, and its repetition is still known."""
        database = await open_database()
        talk = Talk(database)
        send = talk.send("g", "ann", "kept")
        (_, first) = await talk.done(talk.group("g", "ann"), send)
        await database.close()
        talk.database = await open_database()
        try:
            (again,) = await talk.done(send)
            assert again == first._replace(duplicate=True)
            assert await talk.texts("g") == ["kept"]
        finally:
            await talk.database.close()

    async def test_the_same_client_id_with_other_content_conflicts(self, talk: Talk) -> None:
        """G2: under one key there is one content; body, kind, reply and mentions all belong to it."""
        send = talk.send("g", "ann", "one", client_id="k")
        await talk.done(talk.group("g", "ann", "ben"), send)
        for other in ({"text": "two"}, {"kind": "x.y"}, {"reply_to": 1}, {"mentions": ("ben",)}):
            assert (
                await talk.code(talk.send("g", "ann", **{"text": "one", "client_id": "k"} | other))
                is Code.CONFLICT
            )
        assert await talk.texts("g") == ["one"]

    async def test_a_client_id_belongs_to_its_user_device_and_conversation(self, talk: Talk) -> None:
        """G2: the same client_id of another user, on another device or elsewhere is another send."""
        await talk.done(talk.group("g", "ann", "ben"), talk.group("h", "ann"))
        await talk.done(
            talk.send("g", "ann", client_id="k"),
            talk.send("g", "ben", client_id="k"),
            talk.send("g", "ann", client_id="k", device="tablet"),
            talk.send("h", "ann", client_id="k"),
        )
        assert await talk.seqs("g") == [1, 2, 3, 4]
        assert await talk.seqs("h") == [1, 2]

    async def test_a_duplicate_is_answered_before_membership_is_checked(self, talk: Talk) -> None:
        """G2: who sent, was removed and never saw the ack still learns that the send is in the log."""
        send = talk.send("g", "ben", "parting words")
        (_, first, _) = await talk.done(talk.group("g", "ann", "ben"), send, talk.leave("g", "ben"))
        assert await talk.code(talk.send("g", "ben")) is Code.NOT_MEMBER
        (again,) = await talk.done(send)
        assert again == first._replace(duplicate=True)

    async def test_a_send_that_is_too_old_is_never_a_second_copy(self, talk: Talk) -> None:
        """G2: beyond the window a repetition is refused, unless it is in the log and can be answered."""
        old_ms = talk.now_ms - REPEAT_WINDOW_MS - 60_000
        await talk.done(talk.group("g", "ann"))
        assert await talk.code(talk.send("g", "ann", made_at_ms=old_ms)) is Code.TOO_OLD
        assert await talk.code(talk.send("g", "ann", made_at_ms=0)) is Code.TOO_OLD
        known = talk.send("g", "ann", "known", client_id="k")
        await talk.done(known, talk.send("g", "", made_at_ms=0, trusted=True))
        (again,) = await talk.done(talk.send("g", "ann", "known", client_id="k", made_at_ms=old_ms))
        assert again.duplicate

    async def test_a_send_from_the_future_is_refused(self, talk: Talk) -> None:
        """G2: a wrong clock would stretch the window without end."""
        await talk.done(talk.group("g", "ann"))
        later_ms = talk.now_ms + FUTURE_MS_MAX
        assert await talk.code(talk.send("g", "ann", made_at_ms=later_ms + 60_000)) is Code.BAD_TIME
        await talk.done(talk.send("g", "ann", made_at_ms=later_ms - 60_000))

    async def test_a_refused_send_takes_no_number_and_harms_no_other(self, talk: Talk) -> None:
        """Atomic for each append, not for the batch."""
        outcomes = await talk.append(
            talk.group("g", "ann"),
            talk.send("g", "stranger"),
            talk.send("g", "ann", "1"),
            talk.send("nowhere", "ann"),
            talk.send("g", "ann", kind="member.joined"),
            talk.send("g", "ann", "2"),
        )
        assert [each.seq if isinstance(each, Appended) else each.code for each in outcomes] == [
            1, Code.NOT_MEMBER, 2, Code.NOT_MEMBER, Code.UNKNOWN_KIND, 3,
        ]  # fmt: skip
        assert await talk.texts("g") == ["1", "2"]

    async def test_a_stranger_learns_nothing(self, talk: Talk) -> None:
        """A conversation that does not exist and one that is not the user's get the very same answer."""
        await talk.done(talk.group("g", "ann"), talk.direct("ann", "ben"))
        convs = ["g", "missing", direct_id("ann", "ben"), "~ann", "~stranger", "=made-up"]
        outcomes = await talk.append(*(talk.send(conv, "stranger") for conv in convs))
        reads = [
            await talk.database.read(talk.app, conv, "stranger", limit=1)
            for conv in convs
            if conv != "~stranger"
        ]
        assert len({*outcomes, *reads}) == 1
        assert isinstance(outcomes[0], Refused)
        assert outcomes[0].code is Code.NOT_MEMBER

    async def test_the_back_end_is_told_that_there_is_no_such_conversation(self, talk: Talk) -> None:
        assert await talk.code(talk.send("missing", "ann", trusted=True)) is Code.NOT_FOUND
        missing = await talk.database.read(talk.app, "missing", None, limit=1)
        assert isinstance(missing, Refused)
        assert missing.code is Code.NOT_FOUND

    async def test_the_back_end_speaks_for_anyone(self, talk: Talk) -> None:
        """A trusted append is not asked for membership, role or kind."""
        await talk.done(talk.group("g", "ann"))
        await talk.done(
            talk.send("g", "ben", trusted=True), talk.send("g", "", kind="system.note", trusted=True)
        )
        assert [(each.sender, each.kind) for each in (await talk.entries("g"))[1:]] == [
            ("ben", "message"), ("", "system.note"),
        ]  # fmt: skip

    async def test_apps_do_not_see_each_other(self, talk: Talk) -> None:
        """The same ids in another app are other things."""
        other = Talk(talk.database)
        send = talk.send("g", "ann", "mine")
        await talk.done(talk.group("g", "ann"), send)
        await other.done(other.group("g", "ann"), other.send("g", "ann", "theirs", client_id=send.client_id))
        assert (await talk.texts("g"), await other.texts("g")) == (["mine"], ["theirs"])

    async def test_only_messages_and_custom_kinds_come_from_clients(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann"), talk.send("g", "ann", kind="x.poll"))
        for kind in (
            "conversation.created",
            "member.left",
            "conversation.joined",
            "edit",
            "x",
            "Message",
            "",
        ):
            assert await talk.code(talk.send("g", "ann", kind=kind)) in (
                Code.UNKNOWN_KIND,
                Code.INVALID_REQUEST,
            )

    async def test_only_messages_count_as_unread(self, talk: Talk) -> None:
        """Ordinals count messages alone; every other kind repeats the number."""
        outcomes = await talk.done(
            talk.group("g", "ann"),
            talk.send("g", "ann"),
            talk.send("g", "ann", kind="x.poll"),
            talk.join("g", "ben"),
            talk.send("g", "ben"),
        )
        assert [each.ordinal for each in outcomes] == [0, 1, 1, 1, 2]
        assert [each.ordinal for each in await talk.entries("g")] == [0, 1, 1, 1, 2]

    async def test_a_reply_names_an_entry_that_exists(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann"), talk.send("g", "ann", reply_to=1))
        for reply_to in (3, 99, -1, 2**53):
            assert await talk.code(talk.send("g", "ann", reply_to=reply_to)) is Code.INVALID_CONTENT
        first, second = await talk.done(talk.send("g", "ann"), talk.send("g", "ann", reply_to=3))
        assert (first.seq, second.seq) == (3, 4)

    async def test_at_most_50_may_be_mentioned(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann"))
        crowd = tuple(f"u{n}" for n in range(51))
        assert await talk.code(talk.send("g", "ann", mentions=crowd)) is Code.INVALID_CONTENT
        await talk.done(talk.send("g", "ann", mentions=crowd[:50]))

    @pytest.mark.parametrize("odd", ["nul\0", "lone \ud800 surrogate"])
    async def test_text_that_no_database_keeps_is_refused_and_harms_no_other(
        self, talk: Talk, odd: str
    ) -> None:
        """NUL and lone surrogates in any field of one append leave the rest of the batch alone."""
        await talk.done(talk.group("g", "ann", "ben"))
        bad = [talk.send("g", "ann", **{field: odd}) for field in ("client_id", "device", "kind")]
        bad += [talk.send("g", "ann", mentions=("ben", odd)), talk.send("g", odd, trusted=True)]
        bad += [
            talk.send(odd, "ann"),
            talk.join("g", odd),
            talk.group(odd, "ann"),
            talk.group("h", "ann", title=odd),
        ]
        good = [talk.send("g", "ann", str(n)) for n in range(len(bad))]
        outcomes = await talk.append(*(each for pair in zip(bad, good, strict=True) for each in pair))
        assert all(
            isinstance(each, Refused) and each.code is Code.INVALID_REQUEST for each in outcomes[::2]
        ), outcomes
        assert [each.seq for each in outcomes[1::2] if isinstance(each, Appended)] == list(
            range(2, 2 + len(good))
        )

    @pytest.mark.parametrize(
        "name", ["|trey|", "[foo]^", "o'brien", '"; --', "%s $1 :x", "ä ö", "👋🏽", "a" * 128, "\\", "{}`_-"]
    )
    async def test_ids_are_opaque(self, talk: Talk, name: str) -> None:
        """Names as people have them on IRC, quotes, placeholders, emoji: all are just text."""
        await talk.start(name, name, "ben")
        await talk.done(talk.send(name, name, name, device=name, client_id=name[:64], mentions=(name,)))
        (entry,) = (await talk.page(name, name, after=1)).entries
        assert (entry.conv, entry.sender, entry.device, entry.mentions) == (name, name, name, (name,))
        (summary,) = await whole_list(talk, name)
        assert (summary.conv, summary.mentions) == (name, 1)
        assert seqs(await talk.entries(name)) == [1, 2]

    async def test_what_is_not_wanted_any_more_is_not_stored_and_may_be_sent_again(self, talk: Talk) -> None:
        await talk.start("c", "ann")
        batch = [talk.send("c", "ann", text) for text in ("one", "two")]
        outcomes = await talk.database.append(batch, lambda: False)
        assert [outcome.code for outcome in outcomes if isinstance(outcome, Refused)] == [Code.BUSY] * 2
        assert [done.seq for done in await talk.done(*batch)] == [2, 3]

    async def test_an_empty_batch_is_nothing(self, talk: Talk) -> None:
        assert await talk.append() == []

    async def test_a_large_batch_is_one_like_any_other(self, talk: Talk) -> None:
        """2,000 sends to 50 logs, every log complete and in order."""
        logs = [f"g{n}" for n in range(50)]
        await talk.done(*(talk.group(log, "ann") for log in logs))
        outcomes = await talk.done(*(talk.send(logs[n % 50], "ann", str(n)) for n in range(2_000)))
        assert [each.seq for each in outcomes] == [2 + n // 50 for n in range(2_000)]
        assert await talk.texts("g7") == [str(n) for n in range(7, 2_000, 50)]
