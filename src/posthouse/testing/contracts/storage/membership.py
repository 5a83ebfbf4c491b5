"""Who may change what, and what a change leaves in the log: creation, members, roles, descriptions."""

from typing import Any

import msgspec
import pytest

from posthouse.model.conversation import MEMBERS_MAX, History, Kind, Member, Role
from posthouse.model.ids import account_id, direct_id
from posthouse.protocol.codes import Code
from posthouse.storage.base import (
    JOIN_USERS_MAX,
    Append,
    Appended,
    Create,
    Describe,
    InboxChange,
    Refused,
    SetRole,
)
from posthouse.testing.contracts.storage.opened import Opened
from posthouse.testing.contracts.storage.talk import Talk


def _facts(body: msgspec.Raw | bytes) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, Any])


class Membership(Opened):
    async def test_a_creation_is_read_back(self, talk: Talk) -> None:
        """Kind, title, history, properties, members and their roles, and the entry that reports them."""
        properties = msgspec.Raw(b'{"topic":"rain"}')
        members = (("ann", Role.OWNER), ("ben", Role.ADMIN), ("cat", Role.MEMBER))
        create = Create(
            kind=Kind.GROUP, members=members, title="Rain", history=History.ALL, properties=properties
        )
        (done,) = await talk.done(talk.change("g", create, body=b'{"note":1}'))
        conversation = await talk.database.conversation(talk.app, "g")
        assert conversation is not None
        assert (conversation.kind, conversation.title, conversation.history) == ("group", "Rain", History.ALL)
        assert (conversation.head, conversation.first_seq, conversation.members) == (1, 1, 3)
        assert conversation.created_ms == done.at_ms
        assert _facts(conversation.properties) == {"topic": "rain"}
        assert await talk.database.members(talk.app, "g") == [
            Member(user=user, role=role, joined_seq=1) for user, role in members
        ]
        (entry,) = await talk.entries("g")
        assert entry.kind == "conversation.created"
        assert _facts(entry.body) == {
            "note": 1,
            "kind": "group",
            "title": "Rain",
            "users": ["ann", "ben", "cat"],
            "roles": {"ann": "owner", "ben": "admin"},
            "properties": {"topic": "rain"},
        }
        assert done.body == bytes(entry.body)

    async def test_what_does_not_exist_is_none(self, talk: Talk) -> None:
        assert await talk.database.conversation(talk.app, "missing") is None
        assert await talk.database.member(talk.app, "missing", "ann") is None
        assert await talk.database.members(talk.app, "missing") == []

    async def test_repeating_a_creation_is_answered_as_a_duplicate(self, talk: Talk) -> None:
        """Whoever says it, under whatever client_id; a different one under the same id is refused."""
        (first,) = await talk.done(talk.group("g", "ann", "ben"))
        await talk.say("g", "ann", "hello")
        (again,) = await talk.done(talk.group("g", "ann", "ben"))
        assert (again.seq, again.at_ms, again.ordinal, again.duplicate) == (1, first.at_ms, 0, True)
        assert await talk.code(talk.group("g", "ann", "cat")) is Code.EXISTS
        assert await talk.code(talk.group("g", "ann", "ben", kind=Kind.CHANNEL)) is Code.EXISTS
        assert await talk.code(talk.group("g", "ann", "ben", title="other")) is Code.EXISTS
        assert await talk.seqs("g") == [1, 2]

    async def test_a_direct_conversation_is_created_by_either_and_once(self, talk: Talk) -> None:
        """Both begin at the same time, in one batch, each naming the other first."""
        mine, theirs = talk.direct("ann", "ben", sender="ann"), talk.direct("ben", "ann", sender="ben")
        assert mine.conv == theirs.conv
        first, second = await talk.done(mine, theirs)
        assert (first.seq, first.duplicate, second.seq, second.duplicate) == (1, False, 1, True)
        (third,) = await talk.done(talk.direct("ann", "ben", sender="ann"))
        assert third.duplicate
        assert [member.user for member in await talk.database.members(talk.app, mine.conv)] == ["ann", "ben"]

    async def test_a_direct_conversation_keeps_its_two_users(self, talk: Talk) -> None:
        conv = direct_id("ann", "ben")
        await talk.done(talk.direct("ann", "ben"))
        for change in (
            talk.join(conv, "cat"),
            talk.leave(conv, "ann"),
            talk.change(conv, SetRole("ann", Role.OWNER)),
        ):
            assert await talk.code(change) is Code.INVALID_REQUEST
        assert await talk.code(talk.leave(conv, "ann", sender="ann")) is Code.INVALID_REQUEST

    @pytest.mark.parametrize(
        ("conv", "users", "sender", "code"),
        [
            (direct_id("ann", "ben"), ("ann", "cat"), "", Code.INVALID_REQUEST),
            (direct_id("ann", "ben"), ("ann",), "", Code.INVALID_REQUEST),
            (direct_id("ann", "ann"), ("ann", "ann"), "", Code.INVALID_REQUEST),
            (direct_id("ann", "ben"), ("ann", "ben", "cat"), "", Code.INVALID_REQUEST),
            ("g", ("ann", "ben"), "", Code.INVALID_REQUEST),
            (direct_id("ann", "ben"), ("ann", "ben"), "eve", Code.NOT_ALLOWED),
        ],
    )
    async def test_a_direct_conversation_is_what_its_id_says(
        self, talk: Talk, conv: str, users: tuple[str, ...], sender: str, code: Code
    ) -> None:
        create = Create(kind=Kind.DIRECT, members=tuple((user, Role.MEMBER) for user in users))
        assert await talk.code(talk.change(conv, create, sender)) is code

    async def test_creations_that_make_no_sense_are_refused(self, talk: Talk) -> None:
        owner, reader = ("ann", Role.OWNER), ("ben", Role.READER)
        cases: list[tuple[str, Create, str, Code]] = [
            ("~ann", Create(kind=Kind.GROUP, members=(owner,)), "", Code.INVALID_REQUEST),
            ("=abc", Create(kind=Kind.GROUP, members=(owner,)), "", Code.INVALID_REQUEST),
            ("~ann", Create(kind=Kind.ACCOUNT), "", Code.INVALID_REQUEST),
            ("g", Create(kind=Kind.GROUP, members=(owner, owner)), "", Code.INVALID_REQUEST),
            ("g", Create(kind=Kind.GROUP, members=(owner, reader)), "", Code.INVALID_REQUEST),
            (
                "g",
                Create(kind=Kind.GROUP, members=(owner,), properties=msgspec.Raw(b"[]")),
                "",
                Code.INVALID_CONTENT,
            ),
            ("g", Create(kind=Kind.GROUP, members=(("ann", Role.MEMBER),)), "ann", Code.NOT_ALLOWED),
            ("g", Create(kind=Kind.GROUP, members=(owner,)), "ben", Code.NOT_ALLOWED),
        ]
        for conv, create, sender, code in cases:
            assert await talk.code(talk.change(conv, create, sender)) is code, create
        assert await talk.database.conversation(talk.app, "g") is None

    async def test_a_user_creates_a_group_as_its_owner(self, talk: Talk) -> None:
        create = Create(kind=Kind.GROUP, members=(("ann", Role.OWNER), ("ben", Role.MEMBER)))
        await talk.done(talk.change("g", create, "ann"), talk.send("g", "ben", "thanks"))
        assert await talk.texts("g") == ["thanks"]

    async def test_a_change_is_reported_by_its_own_kind_of_entry(self, talk: Talk) -> None:
        """A kind and a change that do not belong together are refused; a change neither replies nor mentions."""
        await talk.done(talk.group("g", "ann", "ben"))
        leave = talk.leave("g", "ben")
        assert await talk.code(msgspec.structs.replace(leave, kind="message")) is Code.INVALID_REQUEST
        assert await talk.code(msgspec.structs.replace(leave, kind="member.joined")) is Code.INVALID_REQUEST
        assert await talk.code(msgspec.structs.replace(leave, reply_to=1)) is Code.INVALID_CONTENT
        assert await talk.code(msgspec.structs.replace(leave, mentions=("ann",))) is Code.INVALID_CONTENT
        assert await talk.code(msgspec.structs.replace(leave, body=b"[1]")) is Code.INVALID_CONTENT
        for kind in ("member.left", "conversation.created", "conversation.joined"):
            assert await talk.code(talk.send("g", "", kind=kind, trusted=True)) is Code.UNKNOWN_KIND

    async def test_who_joins_may_send_and_who_left_may_not(self, talk: Talk) -> None:
        """Also within one batch: each append is decided on what those before it left behind."""
        await talk.done(talk.group("g", "ann"))
        outcomes = await talk.append(
            talk.send("g", "ben", "too soon"),
            talk.join("g", "ben"),
            talk.send("g", "ben", "in time"),
            talk.leave("g", "ben"),
            talk.send("g", "ben", "too late"),
        )
        assert [isinstance(each, Appended) for each in outcomes] == [False, True, True, True, False]
        assert await talk.texts("g") == ["in time"]
        assert await talk.database.member(talk.app, "g", "ben") is None

    async def test_the_log_says_who_really_joined_and_left(self, talk: Talk) -> None:
        """Those who are members already are passed over, and so are those who are none."""
        await talk.done(talk.group("g", "ann", "ben"))
        joined, left = await talk.done(
            talk.join("g", "ben", "cat", "dan", "cat"), talk.leave("g", "zoe", "ben", "cat")
        )
        assert joined.body is not None
        assert _facts(joined.body) == {"users": ["cat", "dan"], "role": "member"}
        assert left.body is not None
        assert _facts(left.body) == {"users": ["ben", "cat"]}
        entries = await talk.entries("g")
        assert [bytes(each.body) for each in entries[1:]] == [joined.body, left.body]
        conversation = await talk.database.conversation(talk.app, "g")
        assert conversation is not None
        assert conversation.members == 2

    async def test_a_change_that_changes_nothing_writes_nothing(self, talk: Talk) -> None:
        """It is answered like a duplicate of the newest entry."""
        await talk.done(talk.group("g", "ann", "ben"), talk.send("g", "ann"))
        for change in (
            talk.join("g", "ben"),
            talk.leave("g", "zoe"),
            talk.change("g", SetRole("ann", Role.OWNER)),
        ):
            (done,) = await talk.done(change)
            assert (done.seq, done.ordinal, done.duplicate) == (2, 1, True)
        assert await talk.seqs("g") == [1, 2]

    async def test_members_rejoin_with_a_new_beginning(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann", "ben"), talk.leave("g", "ben"), talk.join("g", "ben"))
        member = await talk.database.member(talk.app, "g", "ben")
        assert member == Member(user="ben", role=Role.MEMBER, joined_seq=3)

    async def test_joining_leaving_and_joining_in_one_batch(self, talk: Talk) -> None:
        """Intervals begun and ended in the same transaction are kept apart."""
        await talk.done(talk.group("g", "ann"))
        await talk.done(
            talk.join("g", "ben"), talk.leave("g", "ben"), talk.send("g", "ann"), talk.join("g", "ben")
        )
        assert await talk.seqs("g", "ben") == [2, 3, 5]

    @pytest.mark.parametrize(
        ("actor", "change", "allowed"),
        [
            ("owner", "join member", True), ("owner", "join admin", True), ("owner", "join owner", True),
            ("admin", "join member", True), ("admin", "join admin", False), ("admin", "join owner", False),
            ("member", "join member", False),
            ("owner", "leave member", True), ("owner", "leave admin", True), ("owner", "leave owner", True),
            ("admin", "leave member", True), ("admin", "leave admin", True), ("admin", "leave other-admin", False),
            ("admin", "leave owner", False), ("member", "leave other", False), ("member", "leave member", True),
            ("owner", "role member admin", True), ("owner", "role admin member", True),
            ("owner", "role member owner", True), ("owner", "role owner member", True),
            ("admin", "role member admin", False), ("admin", "role admin member", False),
            ("admin", "role owner member", False), ("member", "role member admin", False),
            ("owner", "describe", True), ("admin", "describe", True), ("member", "describe", False),
        ],
    )  # fmt: skip
    async def test_roles_decide_who_changes_whom(
        self, talk: Talk, actor: str, change: str, allowed: bool
    ) -> None:
        """Owners manage everyone, admins everyone but owners and admins, and anyone may leave."""
        roles = {
            "owner": Role.OWNER, "admin": Role.ADMIN, "other-admin": Role.ADMIN,
            "member": Role.MEMBER, "other": Role.MEMBER,
        }  # fmt: skip
        await talk.done(talk.change("g", Create(kind=Kind.GROUP, members=tuple(roles.items()))))
        append = self._asked(talk, actor, change)
        if allowed:
            (done,) = await talk.done(append)
            assert not done.duplicate
        else:
            assert await talk.code(append) is Code.NOT_ALLOWED
            assert await talk.seqs("g") == [1]

    @staticmethod
    def _asked(talk: Talk, actor: str, change: str) -> Append:
        match change.split():
            case ["join", role]:
                return talk.join("g", "newcomer", role=Role(role), sender=actor)
            case ["leave", user]:
                return talk.leave("g", user, sender=actor)
            case ["role", user, role]:
                return talk.change("g", SetRole(user, Role(role)), actor)
            case _:
                return talk.change("g", Describe(title="new"), actor)

    async def test_one_who_leaves_may_not_take_others_along(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann", "ben", "cat"))
        assert await talk.code(talk.leave("g", "ben", "cat", sender="ben")) is Code.NOT_ALLOWED
        await talk.done(talk.leave("g", "ben", sender="ben"))

    async def test_strangers_change_nothing(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann"))
        for append in (
            talk.join("g", "eve", sender="eve"),
            talk.leave("g", "ann", sender="eve"),
            talk.change("g", SetRole("eve", Role.OWNER), "eve"),
            talk.change("g", Describe(title="mine"), "eve"),
            talk.join("missing", "eve", sender="eve"),
            talk.change(account_id("eve"), InboxChange("g", 1), "eve"),
        ):
            assert await talk.code(append) is Code.NOT_MEMBER
        assert await talk.code(talk.join("missing", "ann")) is Code.NOT_FOUND

    async def test_a_role_is_given_to_a_member_only(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann", "ben"), talk.change("g", SetRole("ben", Role.ADMIN), "ann"))
        member = await talk.database.member(talk.app, "g", "ben")
        assert member is not None
        assert member.role is Role.ADMIN
        entry = (await talk.entries("g"))[-1]
        assert (entry.kind, _facts(entry.body)) == ("member.role", {"users": ["ben"], "role": "admin"})
        assert await talk.code(talk.change("g", SetRole("zoe", Role.ADMIN))) is Code.NOT_FOUND
        assert await talk.code(talk.change("g", SetRole("ben", Role.READER))) is Code.INVALID_REQUEST

    async def test_readers_of_a_channel_read_but_do_not_send(self, talk: Talk) -> None:
        await talk.done(
            talk.group("news", "ann", kind=Kind.CHANNEL), talk.join("news", "ben", role=Role.READER)
        )
        assert await talk.code(talk.send("news", "ben")) is Code.NOT_ALLOWED
        assert await talk.code(talk.join("news", "cat", sender="ben")) is Code.NOT_ALLOWED
        await talk.done(talk.send("news", "ann", "extra"), talk.leave("news", "ben", sender="ben"))

    async def test_titles_and_properties_change(self, talk: Talk) -> None:
        """What is None stays as it is."""
        await talk.done(talk.group("g", "ann", title="old"))
        await talk.done(talk.change("g", Describe(title="new"), "ann"), talk.send("g", "ann"))
        await talk.done(talk.change("g", Describe(properties=msgspec.Raw(b'{"a":1}')), "ann"))
        conversation = await talk.database.conversation(talk.app, "g")
        assert conversation is not None
        assert (conversation.title, _facts(conversation.properties)) == ("new", {"a": 1})
        assert [
            _facts(each.body) for each in await talk.entries("g") if each.kind == "conversation.changed"
        ] == [
            {"title": "new"},
            {"properties": {"a": 1}},
        ]

    async def test_a_conversation_described_in_the_batch_that_creates_it(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann", title="old"), talk.change("g", Describe(title="new")))
        conversation = await talk.database.conversation(talk.app, "g")
        assert conversation is not None
        assert (conversation.title, conversation.head) == ("new", 2)

    @pytest.mark.timeout(120)  # 10,000 members are many rows on any engine
    async def test_a_group_has_at_most_10_000_members(self, talk: Talk) -> None:
        """Created in batches of 1,000; one more is refused, and listed in pages they are complete and in order."""
        users = [f"user-{n:05}" for n in range(MEMBERS_MAX)]
        await talk.done(talk.group("g", users[0]))
        await talk.done(
            *(
                talk.join("g", *users[at : at + JOIN_USERS_MAX])
                for at in range(0, MEMBERS_MAX, JOIN_USERS_MAX)
            )
        )
        assert await talk.code(talk.join("g", "one too many")) is Code.TOO_MANY_MEMBERS
        assert await talk.code(talk.join("g", *users[:500], "one", "two")) is Code.TOO_MANY_MEMBERS
        await talk.done(talk.leave("g", users[-1]), talk.join("g", "in their place"))
        found: list[str] = []
        while page := await talk.database.members(talk.app, "g", after=found[-1] if found else "", limit=900):
            found += [member.user for member in page]
        assert found == sorted([*users[:-1], "in their place"])
        conversation = await talk.database.conversation(talk.app, "g")
        assert conversation is not None
        assert conversation.members == MEMBERS_MAX

    async def test_one_entry_names_at_most_1_000_users(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann"))
        crowd = [f"u{n}" for n in range(JOIN_USERS_MAX + 1)]
        for append in (talk.join("g", *crowd), talk.leave("g", *crowd), talk.group("h", *crowd)):
            assert await talk.code(append) is Code.INVALID_REQUEST

    async def test_a_refused_creation_leaves_nothing_for_the_rest_of_its_batch(self, talk: Talk) -> None:
        create = Create(kind=Kind.GROUP, members=(("ann", Role.OWNER), ("ann", Role.OWNER)))
        first, second = await talk.append(talk.change("g", create), talk.send("g", "ann"))
        assert isinstance(first, Refused)
        assert isinstance(second, Refused)
        assert second.code is Code.NOT_MEMBER
