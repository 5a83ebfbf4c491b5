"""Entries as people read them, in chat and in listings. Pure."""

from collections.abc import Sequence

from posthouse.cli import printable
from posthouse.client.events import (
    ConversationChanged,
    ConversationCreated,
    EntryReceived,
    MembersJoined,
    MembersLeft,
    RoleChanged,
    event_of,
)
from posthouse.model.content import TEXT_KEY
from posthouse.model.conversation import Kind
from posthouse.model.entry import MESSAGE, Entry

NAMES_MAX = 5
BODY_CHARS_MAX = 200


def lines_of(entry: Entry) -> list[str]:
    """What an entry says, safe to print: a message's text, or a sentence about anything else."""
    event = event_of(entry)
    sentence = _sentence(event)
    text = event.body.get(TEXT_KEY) if not sentence else ""
    if isinstance(text, str) and text:
        return printable.lines(text)
    return [printable.line(sentence or _raw(entry))]


def is_notice(entry: Entry) -> bool:
    """True when the entry is a sentence about the conversation, rather than something that somebody said."""
    return bool(_sentence(event_of(entry)))


def membership(entry: Entry) -> tuple[Sequence[str], Sequence[str]]:
    """The users who became members with this entry, and those who ceased to be."""
    match event_of(entry):
        case ConversationCreated(users=users) | MembersJoined(users=users):
            return users, ()
        case MembersLeft(users=users):
            return (), users
        case _:
            return (), ()


def names(users: Sequence[str]) -> str:
    """`ann, bob and carol`; of many, the first few and how many others."""
    if len(users) > NAMES_MAX:
        users = [*users[: NAMES_MAX - 1], f"{len(users) - NAMES_MAX + 1} others"]
    head, last = users[:-1], users[-1:]
    return " and ".join([part for part in (", ".join(head), *last) if part])


def _sentence(event: EntryReceived) -> str:
    """A sentence about the conversation; empty for everything else."""
    match event:
        case ConversationCreated():
            return _created(event)
        case MembersJoined(users=users):
            return _moved(event, users, "joined", "added")
        case MembersLeft(users=users):
            return _moved(event, users, "left", "removed")
        case RoleChanged(users=users, role=role):
            return f"{_actor(event)} made {names(users)} {role}"
        case ConversationChanged(title=None):
            return f"{_actor(event)} changed the conversation's properties"
        case ConversationChanged(title=title):
            return f"{_actor(event)} named the conversation “{title}”"
        case _:
            return ""


def _created(event: ConversationCreated) -> str:
    others = [user for user in event.users if user != event.sender]
    noun = "conversation" if event.kind is Kind.DIRECT else event.kind
    title = f" “{event.title}”" if event.title else ""
    company = f" with {names(others)}" if others else ""
    return f"{_actor(event)} started the {noun}{title}{company}"


def _moved(event: EntryReceived, users: Sequence[str], themselves: str, others: str) -> str:
    if list(users) == [event.sender] or not event.sender:
        return f"{names(users)} {themselves}"
    return f"{event.sender} {others} {names(users)}"


def _actor(event: EntryReceived) -> str:
    return event.sender or "the server"


def _raw(entry: Entry) -> str:
    text = bytes(entry.body).decode(errors="replace")
    shown = text if len(text) <= BODY_CHARS_MAX else f"{text[:BODY_CHARS_MAX]}…"
    return shown if entry.kind == MESSAGE else f"[{entry.kind}] {shown}"
