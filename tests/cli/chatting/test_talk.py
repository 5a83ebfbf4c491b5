"""A chat between a client and a screen that do as they are told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import msgspec
import pytest

from posthouse.cli.chatting import talk as talking
from posthouse.cli.chatting.talk import Talk
from posthouse.cli.chatting.transcript import Line, Transcript
from posthouse.client import (
    Client,
    ClientError,
    ConversationHandle,
    Disconnected,
    Event,
    MessageReceived,
    Posted,
    RequestRefused,
    Resumed,
    SendFailed,
    TokenRefused,
)
from posthouse.kit.clock import SystemClock
from posthouse.model.conversation import Kind, Member, Role
from posthouse.model.entry import MESSAGE, Entry
from posthouse.protocol.frames import Summary

CONV = "g1"


def said(seq: int, sender: str = "bob", conv: str = CONV, client_id: str = "") -> Entry:
    body = msgspec.Raw(msgspec.json.encode({"text": f"text {seq}"}))
    return Entry(
        conv=conv, seq=seq, kind=MESSAGE, at_ms=1, ordinal=seq, body=body, sender=sender, client_id=client_id
    )


class FakeClient:
    """Answers from what the test puts into it. `answering` cleared: history gets no answer."""

    def __init__(self) -> None:
        self.user = "ann"
        self.connected = True
        self.logs: dict[str, list[Entry]] = {CONV: []}
        self.heard: asyncio.Queue[Event | ClientError] = asyncio.Queue()
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked = asyncio.Event()
        self.refusal: ClientError | None = None
        self.read: list[tuple[str, int]] = []
        self.posted: list[Posted] = []

    async def events(self) -> AsyncIterator[Event]:
        while True:
            event = await self.heard.get()
            if isinstance(event, ClientError):
                raise event
            yield event

    async def history(self, conv: str, *, limit: int, before: int | None = None) -> AsyncIterator[Entry]:
        if self.refusal is not None:
            raise self.refusal
        entries = [each for each in self.logs[conv] if before is None or each.seq < before]
        self.asked.set()
        await self.answering.wait()
        for entry in reversed(entries[-limit:]):
            yield entry

    async def conversations(self) -> AsyncIterator[Summary]:
        for conv, log in self.logs.items():
            head = log[-1].seq if log else 0
            yield Summary(
                conv=conv, kind=Kind.GROUP, role=Role.MEMBER, head=head, first_seq=1, joined_seq=1, members=2
            )

    def conversation(self, conv: str) -> ConversationHandle:
        return cast("ConversationHandle", FakeHandle())

    def post(self, conv: str, text: str, *, mentions: list[str]) -> Posted:
        posted = Posted(conv, f"c{len(self.posted)}")
        posted.mark_stored(None)
        self.posted.append(posted)
        return posted

    def mark_read(self, conv: str, seq: int) -> None:
        self.read.append((conv, seq))

    def unread(self, conv: str) -> int:
        return 1


class FakeHandle:
    async def members(self) -> AsyncIterator[Member]:
        for user in ("ann", "bob"):
            yield Member(user=user, role=Role.MEMBER, joined_seq=1)


class FakeScreen:
    """Types what the test puts into `keys`; None leaves. Keeps every transcript that was shown."""

    def __init__(self) -> None:
        self.keys: asyncio.Queue[str | None] = asyncio.Queue()
        self.left = asyncio.Event()
        self.transcripts: list[Transcript] = []
        self.changed = asyncio.Event()
        self.is_open = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.is_open = True
        yield
        self.is_open = False

    async def typed(self) -> AsyncIterator[str]:
        while (line := await self.keys.get()) is not None:
            yield line

    async def wait_left(self) -> None:
        await self.left.wait()

    def show(self, transcript: Transcript) -> None:
        self.transcripts.append(transcript)
        self.refresh()

    def refresh(self) -> None:
        self.changed.set()

    def leave(self) -> None:
        self.left.set()
        self.keys.put_nowait(None)

    @property
    def lines(self) -> list[Line]:
        return self.transcripts[-1].tail if self.transcripts else []

    @property
    def texts(self) -> list[str]:
        """What is shown, without the days' notices."""
        return [line.texts[0] for line in self.lines if "1970" not in line.texts[0]]

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait for what is shown to be so."""
        async with asyncio.timeout(5):
            while not met():
                self.changed.clear()
                await self.changed.wait()


class Chat:
    """A chat under way."""

    def __init__(self) -> None:
        self.client = FakeClient()
        self.screen = FakeScreen()
        self.talk = Talk(cast("Client", self.client), SystemClock())

    def start(self) -> "asyncio.Task[None]":
        return asyncio.ensure_future(self.talk.run(self.screen, CONV))

    async def leave(self, running: "asyncio.Task[None]") -> None:
        self.screen.leave()
        async with asyncio.timeout(5):
            await running
        assert not self.screen.is_open


@pytest.fixture
async def chat() -> Chat:
    return Chat()


async def test_what_comes_while_a_conversation_opens_follows_its_history_once(chat: Chat) -> None:
    chat.client.logs[CONV] = [said(1), said(2)]
    chat.client.answering.clear()
    running = chat.start()
    await chat.client.asked.wait()
    for event in (MessageReceived(said(2)), MessageReceived(said(3))):
        chat.client.heard.put_nowait(event)
    await chat.screen.until(lambda: chat.client.heard.empty())
    chat.client.answering.set()
    await chat.screen.until(lambda: "text 3" in chat.screen.texts)
    assert chat.screen.texts == ["text 1", "text 2", "text 3"]
    assert chat.client.read[-1] == (CONV, 3)
    await chat.leave(running)


async def test_the_conversation_that_was_open_goes_on_while_another_opens(chat: Chat) -> None:
    chat.client.logs["g2"] = [said(9, conv="g2")]
    running = chat.start()
    await chat.screen.until(lambda: chat.talk.conv == CONV)
    chat.client.answering.clear()
    chat.client.asked.clear()
    chat.screen.keys.put_nowait("/open g2")
    await chat.client.asked.wait()
    chat.client.heard.put_nowait(MessageReceived(said(1)))
    await chat.screen.until(lambda: chat.screen.texts == ["text 1"])
    chat.client.answering.set()
    await chat.screen.until(lambda: "text 9" in chat.screen.texts)
    assert chat.screen.texts == ["now in g2", "text 9"]
    await chat.leave(running)


async def test_leaving_does_not_wait_for_a_server_that_does_not_answer(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talking, "FAREWELL_S", 0.01)
    running = chat.start()
    await chat.screen.until(lambda: chat.talk.conv == CONV)
    chat.client.answering.clear()
    chat.client.asked.clear()
    chat.screen.keys.put_nowait("/open g1")
    await chat.client.asked.wait()
    await chat.leave(running)


async def test_a_question_without_an_answer_is_given_up(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talking, "ANSWER_TIMEOUT_S", 0.01)
    running = chat.start()
    await chat.screen.until(lambda: chat.talk.conv == CONV)
    chat.client.answering.clear()
    chat.screen.keys.put_nowait("/open g1")
    await chat.screen.until(lambda: any("does not answer" in text for text in chat.screen.texts))
    await chat.leave(running)


async def test_what_the_server_refuses_is_told_and_the_chat_goes_on(chat: Chat) -> None:
    running = chat.start()
    await chat.screen.until(lambda: chat.talk.conv == CONV)
    chat.client.refusal = RequestRefused(4601, "no member")
    chat.screen.keys.put_nowait("/open g1")
    await chat.screen.until(lambda: any("no member" in text for text in chat.screen.texts))
    chat.screen.keys.put_nowait("still here")
    await chat.screen.until(lambda: bool(chat.screen.transcripts[-1].waiting))
    chat.client.heard.put_nowait(MessageReceived(said(1, "ann", client_id="c0"), own=True))
    await chat.leave(running)


async def test_a_message_that_is_refused_is_shown_with_the_reason(chat: Chat) -> None:
    running = chat.start()
    await chat.screen.until(lambda: chat.talk.conv == CONV)
    chat.screen.keys.put_nowait("hello")
    await chat.screen.until(lambda: bool(chat.screen.transcripts[-1].waiting))
    chat.client.heard.put_nowait(SendFailed(CONV, "c0", 4602, "only readers here"))
    await chat.screen.until(lambda: "not sent: only readers here" in chat.screen.texts)
    chat.client.heard.put_nowait(SendFailed("g2", "of last time", 4602, "gone"))
    await chat.screen.until(lambda: "a message to g2 was refused: gone" in chat.screen.texts)
    await chat.leave(running)


async def test_an_outage_is_told_once_and_so_is_its_end(chat: Chat) -> None:
    running = chat.start()
    await chat.screen.until(lambda: chat.talk.conv == CONV)
    for event in (Disconnected(1006, "lost", 0.1), Disconnected(1006, "refused", 0.1)):
        chat.client.heard.put_nowait(event)
    await chat.screen.until(lambda: "reconnecting… (lost)" in chat.screen.texts)
    assert "reconnecting" in chat.talk.status()[0][1]
    chat.client.heard.put_nowait(Resumed("node", "session"))
    await chat.screen.until(lambda: "back" in chat.screen.texts)
    assert chat.screen.texts == ["reconnecting… (lost)", "back"]
    assert chat.talk.status()[0][1].startswith("● g1")
    await chat.leave(running)


async def test_what_ends_the_client_ends_the_chat(chat: Chat) -> None:
    running = chat.start()
    await chat.screen.until(lambda: chat.talk.conv == CONV)
    chat.client.heard.put_nowait(TokenRefused(4201, "expired"))
    with pytest.raises(TokenRefused):
        await running
    assert not chat.screen.is_open


async def test_at_the_end_what_is_on_its_way_may_still_arrive(chat: Chat) -> None:
    running = chat.start()
    await chat.screen.until(lambda: chat.talk.conv == CONV)
    chat.screen.keys.put_nowait("last words")
    await chat.screen.until(lambda: bool(chat.screen.transcripts[-1].waiting))
    chat.screen.keys.put_nowait(None)
    await asyncio.sleep(0.01)
    assert not running.done()
    chat.client.heard.put_nowait(MessageReceived(said(1, "ann", client_id="c0"), own=True))
    async with asyncio.timeout(2):
        await running
    assert chat.screen.texts == ["text 1"]
