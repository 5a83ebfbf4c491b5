"""Entries as typed events."""

from typing import Any

import msgspec
import pytest

from posthouse.client import (
    ConversationChanged,
    ConversationCreated,
    EntryReceived,
    Kind,
    MembersJoined,
    MembersLeft,
    MessageReceived,
    Role,
    RoleChanged,
    event_of,
)
from posthouse.model.entry import Entry


def entry(kind: str, body: bytes) -> Entry:
    return Entry(conv="room", seq=1, kind=kind, at_ms=0, ordinal=1, body=msgspec.Raw(body), sender="ann")


SAID: list[tuple[str, bytes, type[EntryReceived], dict[str, Any]]] = [
    (
        "conversation.created",
        b'{"kind":"group","users":["ann","bob"],"roles":{"ann":"owner"},"title":"Tea"}',
        ConversationCreated,
        {"kind": Kind.GROUP, "users": ("ann", "bob"), "roles": {"ann": Role.OWNER}, "title": "Tea", "properties": {}},
    ),
    (
        "conversation.created",
        b'{"kind":"direct","users":["ann","bob"],"properties":{"a":1}}',
        ConversationCreated,
        {"kind": Kind.DIRECT, "users": ("ann", "bob"), "roles": {}, "title": "", "properties": {"a": 1}},
    ),
    (
        "member.joined",
        b'{"users":["bob"],"role":"reader","members":2}',
        MembersJoined,
        {"users": ("bob",), "role": Role.READER},
    ),
    ("member.joined", b'{"users":["bob"]}', MembersJoined, {"users": ("bob",), "role": None}),
    ("member.left", b'{"users":["bob"],"later":[1]}', MembersLeft, {"users": ("bob",)}),
    ("member.role", b'{"users":["bob"],"role":"admin"}', RoleChanged, {"users": ("bob",), "role": Role.ADMIN}),
    ("conversation.changed", b'{"title":"Tea"}', ConversationChanged, {"title": "Tea", "properties": None}),
    ("conversation.changed", b'{"properties":{}}', ConversationChanged, {"title": None, "properties": {}}),
    ("message", b'{"text":"hello"}', MessageReceived, {"text": "hello"}),
    ("x.poll", b'{"users":["bob"]}', EntryReceived, {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "body", "expected", "said"), SAID)
def test_what_the_server_says_of_a_conversation_has_a_type_of_its_own(
    kind: str, body: bytes, expected: type[EntryReceived], said: dict[str, Any]
) -> None:
    given = entry(kind, body)
    event = event_of(given, own=True)
    assert type(event) is expected
    assert event.entry is given
    assert (event.own, event.conv, event.seq, event.sender) == (True, "room", 1, "ann")
    assert {name: getattr(event, name) for name in said} == said


@pytest.mark.parametrize("kind", sorted({kind for kind, *_ in SAID if kind not in ("message", "x.poll")}))
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"users":5,"title":5}',
        b'{"users":[7],"role":"boss","title":{}}',
        b'{"users":["\xff"],"title":"\xff"}',
        b'{"title":' * 5_000,
    ],
)
def test_a_body_of_another_form_makes_a_plain_event(kind: str, body: bytes) -> None:
    assert type(event_of(entry(kind, body))) is EntryReceived


def test_a_body_cannot_pass_for_its_envelope() -> None:
    given = entry("member.left", b'{"users":["bob"],"entry":null,"own":true}')
    event = event_of(given)
    assert (event.entry, event.own) == (given, False)
