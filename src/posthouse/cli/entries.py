"""Entries as people read them, in chat and in listings. Pure."""

from typing import Any

import msgspec

from posthouse.cli import printable
from posthouse.model import entry as kinds
from posthouse.model.content import TEXT_KEY
from posthouse.model.entry import Entry

NAMES_MAX = 5
BODY_CHARS_MAX = 200

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def lines_of(entry: Entry) -> list[str]:
    """What an entry says, safe to print: a message's text, or a sentence about anything else."""
    body = _decode(entry.body)
    text = body.get(TEXT_KEY)
    if isinstance(text, str) and text and entry.kind not in _SENTENCES:
        return printable.lines(text)
    sentence = _SENTENCES.get(entry.kind)
    return [printable.line(sentence(entry, body) if sentence is not None else _raw(entry))]


def is_notice(entry: Entry) -> bool:
    """True when the entry is a sentence about the conversation, rather than something that somebody said."""
    return entry.kind in _SENTENCES


def membership(entry: Entry) -> tuple[list[str], list[str]]:
    """The users who became members with this entry, and those who ceased to be."""
    if entry.kind in (kinds.CREATED, kinds.MEMBER_JOINED):
        return _users(_decode(entry.body)), []
    return [], _users(_decode(entry.body)) if entry.kind == kinds.MEMBER_LEFT else []


def names(users: list[str]) -> str:
    """`ann, bob and carol`; of many, the first few and how many others."""
    if len(users) > NAMES_MAX:
        users = [*users[: NAMES_MAX - 1], f"{len(users) - NAMES_MAX + 1} others"]
    head, last = users[:-1], users[-1:]
    return " and ".join([part for part in (", ".join(head), *last) if part])


def _created(entry: Entry, body: dict[str, Any]) -> str:
    others = [user for user in _users(body) if user != entry.sender]
    title = f" “{body['title']}”" if body.get("title") else ""
    company = f" with {names(others)}" if others else ""
    return f"{_actor(entry)} started the {_noun(body)}{title}{company}"


def _joined(entry: Entry, body: dict[str, Any]) -> str:
    users = _users(body)
    if users == [entry.sender] or not entry.sender:
        return f"{names(users)} joined"
    return f"{entry.sender} added {names(users)}"


def _left(entry: Entry, body: dict[str, Any]) -> str:
    users = _users(body)
    if users == [entry.sender] or not entry.sender:
        return f"{names(users)} left"
    return f"{entry.sender} removed {names(users)}"


def _role(entry: Entry, body: dict[str, Any]) -> str:
    return f"{_actor(entry)} made {names(_users(body))} {body.get('role', 'something else')}"


def _changed(entry: Entry, body: dict[str, Any]) -> str:
    if "title" in body:
        return f"{_actor(entry)} named the conversation “{body['title']}”"
    return f"{_actor(entry)} changed the conversation's properties"


_SENTENCES = {
    kinds.CREATED: _created,
    kinds.MEMBER_JOINED: _joined,
    kinds.MEMBER_LEFT: _left,
    kinds.MEMBER_ROLE: _role,
    kinds.CHANGED: _changed,
}


def _noun(body: dict[str, Any]) -> str:
    kind = body.get("kind")
    return "conversation" if kind not in ("group", "channel") else kind


def _actor(entry: Entry) -> str:
    return entry.sender or "the server"


def _users(body: dict[str, Any]) -> list[str]:
    users = body.get("users")
    return [user for user in users if isinstance(user, str)] if isinstance(users, list) else []


def _raw(entry: Entry) -> str:
    text = bytes(entry.body).decode(errors="replace")
    shown = text if len(text) <= BODY_CHARS_MAX else f"{text[:BODY_CHARS_MAX]}…"
    return shown if entry.kind == kinds.MESSAGE else f"[{entry.kind}] {shown}"
