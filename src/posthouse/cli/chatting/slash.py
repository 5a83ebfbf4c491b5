"""What is typed in chat: a message, or a command that begins with a slash. Pure."""

from difflib import get_close_matches
from typing import NamedTuple

COMMANDS = {
    "help": ("", "show this"),
    "list": ("", "your conversations, and what is unread in them"),
    "open": ("WHERE", "go to another conversation: a number of /list, an id, or @USER"),
    "history": ("[N]", "the N messages before the oldest one shown (20)"),
    "who": ("", "who is here, and how far they have read"),
    "quit": ("", "leave; Ctrl-D does the same"),
}
"""Name → (argument, meaning). An argument in brackets may be left out."""


class Command(NamedTuple):
    """A command of `COMMANDS`."""

    name: str
    argument: str = ""


class Message(NamedTuple):
    """Something to send."""

    text: str


class Mistake(NamedTuple):
    """Neither; `text` says what is wrong."""

    text: str


def parse(typed: str) -> Command | Message | Mistake | None:
    """What a line means; None when it is blank. A message that begins with a slash is written with two."""
    text = typed.strip()
    if not text:
        return None
    if not text.startswith("/") or text.startswith("//"):
        return Message(typed.rstrip() if not text.startswith("//") else text[1:])
    name, _, argument = text[1:].partition(" ")
    if name not in COMMANDS:
        near = [each for each in COMMANDS if name and each.startswith(name)] or get_close_matches(
            name, COMMANDS, n=1
        )
        known = f"did you mean /{near[0]}?" if near else "/help lists the commands"
        return Mistake(f"there is no /{name}; {known} (a message that begins with a slash: //{name})")
    wanted = COMMANDS[name][0]
    if wanted and not wanted.startswith("[") and not argument.strip():
        return Mistake(f"write /{name} {wanted}: {COMMANDS[name][1]}")
    return Command(name, argument.strip())


def help_lines() -> list[str]:
    """The commands, one a line, then what the marks mean."""
    usages = {name: f"/{name} {argument}".rstrip() for name, (argument, _) in COMMANDS.items()}
    width = max(map(len, usages.values()))
    return [
        *(f"{usages[name]:{width}}  {meaning}" for name, (_, meaning) in COMMANDS.items()),
        f"{'✓':{width}}  stored by the server (… not yet)",
        f"{'✓✓':{width}}  received by everyone, and in the end read",
        f"{'Alt-Enter':{width}}  begins a new line in a message",
    ]
