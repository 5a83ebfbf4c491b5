"""A chat: the client on one side, the screen on the other, the transcript of one conversation between them.

One event loop and two tasks: one obeys what is typed, one hears what happens. Both change the transcript without
awaiting in between, then ask the screen to refresh; the chat ends with whichever ends first.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from posthouse.cli import printable
from posthouse.cli.chatting.layout import Row
from posthouse.cli.chatting.overview import Overview
from posthouse.cli.chatting.slash import Command, Message, Mistake, help_lines, parse
from posthouse.cli.chatting.transcript import Transcript
from posthouse.cli.listing import columns
from posthouse.client import (
    CatchUpFailed,
    Client,
    ClientError,
    Connected,
    ConversationReset,
    CursorsMoved,
    Disconnected,
    EntryReceived,
    Event,
    Reset,
    SendFailed,
)
from posthouse.kit.clock import Clock
from posthouse.kit.tasks import start, wait_event
from posthouse.model.content import MENTIONS_MAX
from posthouse.model.entry import CHANGED, Entry
from posthouse.model.ids import DIRECT_PREFIX
from posthouse.protocol.frames import MemberCursor

HISTORY_ENTRIES = 20
HISTORY_ENTRIES_MAX = 500
MARKED_MEMBERS_MAX = 100
"""In larger conversations nobody is told who has read what: the marks stop at `sent`."""
ANSWER_TIMEOUT_S = 10.0
FAREWELL_S = 3.0
"""How long to wait at the end for what is still on its way."""
AWAY = "○ reconnecting… what you write is kept, and sent then"


class Screen(Protocol):
    """Shows a transcript and takes what is typed."""

    def open(self) -> AbstractAsyncContextManager[None]:
        """The screen is ours inside."""
        ...

    def typed(self) -> AsyncIterator[str]:
        """What the user types, until they leave."""
        ...

    async def wait_left(self) -> None:
        """Return when the user has left, also while what they typed is not all taken."""
        ...

    def show(self, transcript: Transcript) -> None:
        """Go on with another transcript."""
        ...

    def refresh(self) -> None:
        """Something that is shown has changed."""
        ...


class Talk:
    """One chat of one user. `conv` is the conversation that is open."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.conv = ""
        self.transcript = Transcript(client.user)
        self._client = client
        self._clock = clock
        self._overview = Overview()
        self._opening = ""
        self._held: list[Entry] = []
        """Entries of the conversation that is being opened: they follow its history."""
        self._oldest_seq = 0
        self._away = False
        self._landed = asyncio.Event()
        """Set when all that was typed here has come back as entries."""
        self._landed.set()

    async def run(self, screen: Screen, conv: str) -> None:
        """Chat in `conv` until the user leaves. Raises what ends the client."""
        self._screen = screen
        async with screen.open():
            work = {start(self._hear()), start(self._obey(conv))}
            left = start(screen.wait_left())
            await asyncio.wait({*work, left}, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                await asyncio.wait(work, timeout=FAREWELL_S, return_when=asyncio.FIRST_COMPLETED)
            ended = {task for task in work if task.done()}
            for task in (*work, left):
                task.cancel()
            await asyncio.gather(*work, left, return_exceptions=True)
        for task in ended:
            task.result()

    def status(self) -> Row:
        """How things stand, for the row below the line being typed."""
        if not self.conv:
            return [("class:status", "opening…")]
        if self._away:
            return [("class:status.bad", AWAY)]
        unread = self._overview.unread(self.conv)
        row = [("class:status", f"● {self._overview.name(self.conv)}  /help")]
        return [*row, ("class:status.unread", f"  unread: {unread}")] if unread else row

    # What happens

    async def _hear(self) -> None:
        async for event in self._client.events():
            await self._take(event)
            self._screen.refresh()

    async def _take(self, event: Event) -> None:
        match event:
            case EntryReceived(entry=entry):
                await self._take_entry(entry)
            case CursorsMoved(conv=conv, cursors=cursors):
                if conv == self.conv:
                    self.transcript.moved(cursors)
                elif any(cursor.user == self._client.user for cursor in cursors):
                    self._overview.count(conv, self._client.unread(conv))
            case SendFailed():
                self._take_refusal(event)
            case Connected():
                self._come_back()
            case Disconnected(reason=reason):
                self._go_away(reason)
            case CatchUpFailed(conv=conv, reason=reason) if conv == self.conv:
                self._say(f"what you missed cannot be read: {reason}")
            case Reset() | ConversationReset():
                self._say("what was here before may be gone from the server; /history shows what there is")
            case _:
                pass

    async def _take_entry(self, entry: Entry) -> None:
        if entry.conv == self._opening:
            self._held.append(entry)
        if entry.conv == self.conv:
            self._show(entry)
        if not self._overview.knows(entry.conv) or entry.kind == CHANGED:
            await self._learn()
        if entry.conv != self.conv:
            self._overview.count(entry.conv, self._client.unread(entry.conv))

    def _show(self, entry: Entry) -> None:
        if self.transcript.entry(entry):
            self._client.mark_read(self.conv, entry.seq)
            self._overview.show(self.conv, entry.seq)
        if not self.transcript.waiting:
            self._landed.set()

    def _take_refusal(self, event: SendFailed) -> None:
        if not self.transcript.refused(event.client_id, event.reason):
            self._say(f"a message to {self._overview.name(event.conv)} was refused: {event.reason}")
        if not self.transcript.waiting:
            self._landed.set()

    def _go_away(self, reason: str) -> None:
        if not self._away:
            self._away = True
            self._say(f"reconnecting… ({printable.line(reason)})")

    def _come_back(self) -> None:
        if self._away:
            self._away = False
            self._say("back")

    # What is typed

    async def _obey(self, conv: str) -> None:
        await self._learn()
        await self._open(conv)
        async for typed in self._screen.typed():
            match parse(typed):
                case Message(text):
                    await self._try(self._send(text))
                case Mistake(text):
                    self._say(text)
                case Command("quit"):
                    break
                case Command(name, argument):
                    await self._try(self._carry_out(name, argument))
            self._screen.refresh()
        if self._client.connected:
            await wait_event(self._landed, FAREWELL_S, self._clock)

    async def _try(self, work: Awaitable[None]) -> None:
        """What is refused, or gets no answer, is told; the chat goes on."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await work
        except ClientError as error:
            self._say(str(error))
        except TimeoutError:
            self._say("the server does not answer; try again when it is back")

    async def _send(self, text: str) -> None:
        mentions = [user for user in self.transcript.others if _mentions(text, user)][:MENTIONS_MAX]
        posted = self._client.post(self.conv, text, mentions=mentions)
        self.transcript.typed(posted.client_id, text, self._clock.now_ms())
        self._landed.clear()
        self._screen.refresh()
        try:
            await posted.stored
        except ClientError as error:
            self.transcript.refused(posted.client_id, str(error))

    async def _carry_out(self, name: str, argument: str) -> None:
        match name:
            case "help":
                self._say(*help_lines())
            case "list":
                await self._list()
            case "open":
                await self._go(argument)
            case "history":
                await self._show_history(argument)
            case "who":
                await self._show_members()

    async def _list(self) -> None:
        await self._learn()
        self._say(*columns(self._overview.rows()), "/open N goes to one of them")

    async def _go(self, where: str) -> None:
        conv = self._overview.find(where)
        if conv is None and where.startswith("@"):
            conv = (await self._client.direct(where[1:])).conv
        if conv is None:
            self._say(
                f"there is no conversation {where}; /list shows yours, /open @USER begins one with a user"
            )
            return
        await self._learn()
        await self._open(conv, f"now in {self._overview.name(conv)}")

    async def _open(self, conv: str, *headings: str) -> None:
        """Go to a conversation: its members, its last entries, then what came meanwhile."""
        self._opening = conv
        try:
            cursors = await self._cursors(conv)
            recent = [entry async for entry in self._client.history(conv, limit=HISTORY_ENTRIES)]
        finally:
            held, self._held, self._opening = self._held, [], ""
        self.conv, self.transcript = conv, Transcript(self._client.user, cursors)
        self._oldest_seq = recent[-1].seq if recent else 0
        self._screen.show(self.transcript)
        for heading in headings:
            self._say(heading)
        for entry in (*reversed(recent), *held):
            self._show(entry)
        self._screen.refresh()

    async def _cursors(self, conv: str) -> list[MemberCursor]:
        """How far the members are, where that is told."""
        if not conv.startswith(DIRECT_PREFIX) and not 0 < self._overview.members(conv) <= MARKED_MEMBERS_MAX:
            return []
        return [
            MemberCursor(member.user, member.read_seq, member.delivered_seq)
            async for member in self._client.conversation(conv).members()
            if member.user != self._client.user
        ]

    async def _show_history(self, argument: str) -> None:
        count = int(argument) if argument.isdecimal() else HISTORY_ENTRIES
        if self._oldest_seq <= 1:
            self._say("there is nothing before this")
            return
        older = self._client.history(
            self.conv, before=self._oldest_seq, limit=min(count, HISTORY_ENTRIES_MAX)
        )
        entries = [entry async for entry in older]
        self._oldest_seq = entries[-1].seq if entries else 0
        self.transcript.insert(reversed(entries))

    async def _show_members(self) -> None:
        rows = []
        async for member in self._client.conversation(self.conv).members():
            heard = self.transcript.others.get(member.user, MemberCursor(member.user))
            behind = self.transcript.last_seq - max(member.read_seq, heard.read)
            you = member.user == self._client.user
            read = "you" if you else "has read everything" if behind <= 0 else f"{behind} behind"
            rows.append((printable.line(member.user), member.role.value, read))
        self._say(*columns(rows))

    # What is known

    async def _learn(self) -> None:
        """Ask for the list of conversations: names, and what is unread."""
        self._overview.learn([summary async for summary in self._client.conversations()])

    def _say(self, *texts: str) -> None:
        self.transcript.remark(*map(printable.line, texts))


def _mentions(text: str, user: str) -> bool:
    return re.search(rf"(?<!\S)@{re.escape(user)}(?!\w)", text) is not None
