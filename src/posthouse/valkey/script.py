"""Lua scripts, sent by their digest; a server that has lost them, after a restart or failover, is sent the text."""

import hashlib
from collections.abc import Sequence

from posthouse.valkey.link import Command, Link, Reply, ReplyError

Argument = str | bytes | int
Call = tuple[Sequence[bytes], Sequence[Argument]]
"""(keys, arguments); the keys of one call lie in one hash slot."""


class Script:
    """One script. `run` sends several calls of it together."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, link: Link, calls: Sequence[Call]) -> list[Reply]:
        """One reply for each call, errors among them as `ReplyError`. Raises `Unavailable`."""
        replies = await link.call([self._command("EVALSHA", self._digest, call) for call in calls])
        again = [number for number, reply in enumerate(replies) if _is_unknown(reply)]
        if again:
            texts = await link.call([self._command("EVAL", self._text, calls[number]) for number in again])
            for number, reply in zip(again, texts, strict=True):
                replies[number] = reply
        return replies

    def _command(self, verb: str, what: str, call: Call) -> Command:
        keys, arguments = call
        return (verb, what, len(keys), *keys, *arguments)


def _is_unknown(reply: Reply) -> bool:
    return isinstance(reply, ReplyError) and reply.code == "NOSCRIPT"
