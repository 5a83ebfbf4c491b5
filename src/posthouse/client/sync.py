"""Keeping every log in step with the server: the first list, what was missed, live entries, the account log. Pure.

Delivers through `host.emit`; an entry that finds no room there is not delivered, and is fetched again later.
"""

from collections.abc import Callable
from math import inf

import msgspec

from posthouse.client.conversations import Conversations
from posthouse.client.cursors import Cursors
from posthouse.client.events import (
    CatchUpFailed,
    ConversationJoined,
    ConversationLeft,
    ConversationReset,
    CursorsMoved,
    EntryReceived,
    MessageReceived,
    Reset,
    event_of,
)
from posthouse.client.host import Host, Saved, Settings
from posthouse.client.requests import Answer, Requests
from posthouse.client.timeline import Fetching, Timelines
from posthouse.kit.clock import Clock
from posthouse.kit.malformed import MALFORMED
from posthouse.model.entry import ACCOUNT_JOINED, ACCOUNT_LEFT, MESSAGE, Entry
from posthouse.model.ids import INTEGER_MAX, account_id
from posthouse.protocol.codes import Action, Code, action_of
from posthouse.protocol.frames import (
    LIST_LIMIT_MAX,
    Conversations as ListAnswer,
    CursorsPush,
    Done,
    Entries,
    Error,
    Fetch,
    Frame,
    List,
    SetCursors,
    Summary,
    Welcome,
)


class AccountBody(msgspec.Struct):
    """The body of an account log's entry about a conversation."""

    conv: str = ""
    joined_seq: int = 0
    left_seq: int = 0


UNKNOWN_WAIT_S = 5.0
"""How long what was heard of a conversation may wait for the account log to name it; then they are listed again."""

_decode_account = msgspec.json.Decoder(AccountBody).decode


class Sync:
    """One client's logs. `restart` is called with a reason when the session cannot be used."""

    __slots__ = (
        "_account", "_clock", "_emit", "_found", "_fresh", "_host", "_listing", "_parting", "_receipts", "_requests",
        "_restart", "_settings", "_sought", "_waited_for", "cursors", "device", "seek_at", "synced", "timelines",
        "touched", "user", "views",
    )  # fmt: skip

    def __init__(
        self,
        settings: Settings,
        requests: Requests,
        clock: Clock,
        host: Host,
        saved: Saved,
        restart: Callable[[str], None],
    ) -> None:
        self.timelines = Timelines(self._deliver)
        self.views = Conversations()
        self.cursors = Cursors()
        self.user, self.device = saved.user, saved.device
        self.synced = False
        """True once it is known what each conversation lacks."""
        self.touched = False
        """Set when delivering an entry has left something to do."""
        self.seek_at = inf
        """When the conversations are listed again for what was heard of unknown ones."""
        self._account = account_id(saved.user)
        self._fresh = not saved.listed
        self._listing = False
        self._sought: dict[str, int] = {}
        """Unknown logs that are looked for in the list, with the first seq that was heard of each."""
        self._found: list[Summary] = []
        self._parting = ""
        """The conversation that was left and whose end is being fetched, while the account log waits for it."""
        self._waited_for = ""
        """The one that is waited for no longer, whatever is missing."""
        self._settings = settings
        self._requests = requests
        self._clock = clock
        self._host = host
        self._emit = host.emit
        self._receipts = settings.receipts
        self._restart = restart
        for log, seq in saved.positions.items() if saved.listed else ():
            self.timelines.start(log, seq)

    # The session

    @property
    def listed(self) -> bool:
        """True when every conversation has its position, so that the positions are worth keeping."""
        return not self._fresh

    def positions(self) -> dict[str, int] | None:
        """Where each log stands, or None when there is nothing to resume."""
        return None if self._fresh else self.timelines.positions(self._account)

    def reset(self) -> None:
        """The positions are void, also those of a list that was not read to its end: begin as on the first day."""
        self.timelines.reset()
        self.views.reset()
        self._sought.clear()
        self._host.forget_positions()
        if not self._fresh:
            self._fresh = True
            self._host.emit(Reset("the server's log went back in time"))

    def open(self, welcome: Welcome) -> None:
        """A session stands: learn what was missed, from `changed` if the server resumed, else from the whole list."""
        self.user = welcome.user
        self._account = account_id(welcome.user)
        self.cursors.open(self._clock.monotonic())
        self.timelines.pursue_ends()
        if welcome.resumed:
            for log, head in welcome.changed.items():
                self.timelines.note_head(log, head)
            self.synced = True
            return
        if self.timelines.applied(self._account) is None:
            self._begin(self._account, welcome.account_head)
        else:
            self.timelines.note_head(self._account, welcome.account_head)
        self._list("")

    def lose_connection(self) -> None:
        """The session is gone."""
        self._listing = False
        self._found.clear()
        self._parting = self._waited_for = ""
        self.timelines.lose_connection()
        self.cursors.lose_connection()

    # The list

    def _list(self, page: str) -> None:
        def build(ref: int) -> Frame:
            return List(ref=ref, page=page, limit=LIST_LIMIT_MAX)

        self._listing = True
        self._requests.ask(build, self._take_list, lasts=False)

    def _take_list(self, answer: Answer | Error) -> None:
        if not isinstance(answer, ListAnswer):
            self._restart("the list of conversations was refused")
            return
        for summary in answer.items:
            self._take_summary(summary)
        if answer.next_page:
            self._list(answer.next_page)
        else:
            self._fresh = self._listing = False
            self.synced = True
            self._end_search()

    def _take_summary(self, summary: Summary) -> None:
        conv = summary.conv
        self.views.learn(summary)
        if self.timelines.applied(conv) is not None:
            self.timelines.note_head(conv, summary.head)
        elif self._fresh and not summary.left:
            begin = max(0, summary.joined_seq - 1) if self._settings.catch_up_all else summary.head
            self._begin(conv, begin, summary.head)
        elif conv in self._sought and not summary.left:
            self._found.append(summary)

    # What the list has missed: conversations that became active while its pages were read (P-9.11, P-10.6)

    def _seek(self, now: float) -> None:
        """List the conversations again when something was heard of one that neither list nor account log has named."""
        if self._found and self.timelines.in_step(self._account):
            self._begin_found()
        waits = self._listing or self._found or not self.synced or not self.timelines.in_step(self._account)
        if waits or not (self._sought or self.timelines.unknown):
            self.seek_at = inf
        elif self.seek_at == inf:
            self.seek_at = now + UNKNOWN_WAIT_S
        elif now >= self.seek_at:
            self.seek_at = inf
            self._sought = self.timelines.take_unknown() | self._sought
            self._list("")

    def _end_search(self) -> None:
        """Whoever has joined one of them lately begins it where the account log says: that is read to its end first."""
        if self._found:
            self.timelines.note_head(self._account, INTEGER_MAX)
        else:
            self._sought.clear()

    def _begin_found(self) -> None:
        """Begin with the first entry that was heard of."""
        found, self._found = self._found, []
        for summary in found:
            if self.timelines.applied(summary.conv) is None:
                first = max(summary.joined_seq, min(self._sought[summary.conv], summary.head))
                self._begin(summary.conv, first - 1, summary.head)
        self._sought.clear()

    def _begin(self, log: str, applied: int, target: int = 0) -> None:
        self._host.note(log, applied)
        self.timelines.start(log, applied, target)

    # What comes by itself

    def hear_heads(self, heads: dict[str, int]) -> None:
        """Logs have entries up to here."""
        for log, head in heads.items():
            self.timelines.note_head(log, head)

    def hear_cursors(self, push: CursorsPush) -> None:
        """Members of a conversation, perhaps this user on another device, moved their cursors."""
        applied = self.timelines.applied(push.conv)
        for moved in push.of:
            if moved.user == self.user and applied is not None:
                self.views.read(push.conv, moved.read, applied)
        self._host.emit(CursorsMoved(push.conv, push.of))

    def _deliver(self, entry: Entry) -> bool:
        """Hand one entry to the application, and take from it what the client itself needs. False: no room."""
        conv, sender = entry.conv, entry.sender
        if conv == self._account:
            return self._deliver_account(entry)
        own = sender == self.user and entry.device == self.device
        event = MessageReceived(entry, own) if entry.kind == MESSAGE else event_of(entry, own)
        if not self._emit(event):
            return False
        view = self.views.apply(entry)
        if sender == self.user:
            self.views.read(conv, entry.seq, entry.seq)
        elif view.receipts and self._receipts and self.cursors.deliver(conv, entry.seq):
            self.touched = True
        if conv == self._parting:
            self.touched = True
        return True

    def _deliver_account(self, entry: Entry) -> bool:
        self.touched = True
        body = _account_body(entry)
        if entry.kind == ACCOUNT_JOINED and body.conv:
            told = self._host.emit(ConversationJoined(body.conv, body.joined_seq, entry.seq))
            return told and self._join(body)
        if entry.kind == ACCOUNT_LEFT and body.conv:
            return self._part(body, entry.seq)
        return self._host.emit(EntryReceived(entry))

    def _join(self, body: AccountBody) -> bool:
        """Live entries come from now on; what was written since the joining is fetched, however much it is."""
        if self.timelines.applied(body.conv) is None:
            self._begin(body.conv, max(0, body.joined_seq - 1), INTEGER_MAX)
        else:
            self.timelines.resume(body.conv, INTEGER_MAX)
        return True

    def _part(self, body: AccountBody, seq: int) -> bool:
        """The application hears of it after the log's last entry: else what is still missing would be lost when it ends
        just then. It waits for no more than can be fetched now."""
        conv, last = body.conv, body.left_seq
        whole = self.timelines.end(conv, last)
        if not whole and (self.timelines.applied(conv) or 0) < last and conv != self._waited_for:
            self._parting = conv
            return False
        told = self._host.emit(ConversationLeft(conv, last, seq))
        if told:
            self._waited_for = ""
            if whole:
                self._forget(conv)
        return told

    def _end_parting(self) -> None:
        """The account log goes on once the end is there, or was refused."""
        if self._parting and self.timelines.in_step(self._parting):
            self._waited_for, self._parting = self._parting, ""
            self.timelines.make_room()

    def _forget(self, conv: str) -> None:
        self.timelines.forget(conv)
        self.views.forget(conv)
        self.cursors.forget(conv)

    def read(self, conv: str, seq: int) -> None:
        """The user has read up to `seq`."""
        self.views.read(conv, seq, self.timelines.applied(conv) or seq)
        self.cursors.read(conv, seq, self._clock.monotonic())

    # What is asked for

    def work(self, now: float) -> None:
        """Ask for what is due: missing ranges, and cursors to be made durable."""
        self.touched = False
        self._end_parting()
        self._seek(now)
        self.cursors.schedule(now)
        for fetching in self.timelines.fetches(now):
            self._fetch(fetching)
        self.say_cursors(now)

    def say_cursors(self, now: float, *, all_due: bool = False) -> None:
        """Send the cursors that moved, if a second has passed or `all_due`."""
        cursors = self.cursors.take(now, all_due=all_due)
        if not cursors:
            return

        def settle(answer: Answer | Error) -> None:
            self.cursors.settle(isinstance(answer, Done), self._clock.monotonic())

        self._requests.ask(lambda ref: SetCursors(ref=ref, cursors=cursors), settle, lasts=False)

    def _fetch(self, fetching: Fetching) -> None:
        log, after, limit = fetching

        def build(ref: int) -> Frame:
            return Fetch(ref=ref, conv=log, after=after, limit=limit)

        def settle(answer: Answer | Error) -> None:
            if isinstance(answer, Entries):
                self.timelines.page(log, answer.entries, answer.complete, self._clock.monotonic())
            elif isinstance(answer, Error):
                self._fetch_refused(log, answer)

        self._requests.ask(build, settle, lasts=False)

    def _fetch_refused(self, log: str, error: Error) -> None:
        self.timelines.fail(log)
        if action_of(error.code) is Action.RESET_REQUEST:
            self._find_first(log)
        elif error.code in (Code.NOT_MEMBER, Code.NOT_FOUND) and log != self._account:
            self._forget(log)
            self._host.note(log, None)
        else:
            self._host.emit(CatchUpFailed(log, error.code, error.reason))

    def _find_first(self, log: str) -> None:
        """What comes next is no longer kept: the newest entry tells from where on it is."""

        def build(ref: int) -> Frame:
            return Fetch(ref=ref, conv=log, before=INTEGER_MAX, limit=1)

        def settle(answer: Answer | Error) -> None:
            if isinstance(answer, Entries):
                self._host.emit(ConversationReset(log, answer.first_seq))
                self._begin(log, max(self.timelines.applied(log) or 0, answer.first_seq - 1), answer.head)
            elif isinstance(answer, Error):
                self._host.emit(CatchUpFailed(log, answer.code, answer.reason))

        self._requests.ask(build, settle, lasts=False)


def _account_body(entry: Entry) -> AccountBody:
    """What an account log's entry says; of a kind from another time, nothing."""
    try:
        return _decode_account(entry.body)
    except MALFORMED:
        return AccountBody()
