"""Requests that wait for the database: fetch, list, cursors.

A session's fetches and lists are answered one after another by one task: however many it asks at once, it takes one
place among those who read. Beyond `in_flight_max` unanswered ones it is refused.
"""

from collections import deque

from posthouse.gateway.limits import GatewayLimits
from posthouse.gateway.session import Session
from posthouse.kit.tasks import Tasks
from posthouse.messaging.listing import listing
from posthouse.messaging.receipts import Receipts
from posthouse.model.errors import ModelError
from posthouse.model.ids import INTEGER_MAX, account_user, check_id
from posthouse.protocol.codec import encode
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import (
    CURSORS_MAX,
    FETCH_LIMIT_MAX,
    LIST_LIMIT_MAX,
    ClientFrame,
    Conversations,
    Done,
    Entries,
    Fetch,
    List,
    SetCursors,
)
from posthouse.storage.base import Log, Page, Refused, StorageError

PAGE_MARK_CHARS_MAX = 400
FAULT_RETURN_MS = 1_000

Reading = Fetch | List


class Requests:
    """Carries out the requests of all sessions of one gateway."""

    def __init__(self, log: Log, receipts: Receipts, tasks: Tasks, limits: GatewayLimits) -> None:
        self._log = log
        self._receipts = receipts
        self._tasks = tasks
        self._limits = limits
        self._waiting: dict[Session, deque[Reading]] = {}

    def start(self, session: Session, frame: ClientFrame) -> None:
        """Begin a request; its answer names the frame's `ref`."""
        assert isinstance(frame, Fetch | List | SetCursors)
        problem = _problem(frame)
        if problem:
            session.refuse(Code.INVALID_REQUEST, problem, ref=frame.ref)
        elif session.in_flight >= self._limits.in_flight_max:
            retry_ms = self._limits.retry_after_ms(Code.IN_FLIGHT_LIMIT)
            session.refuse(
                Code.IN_FLIGHT_LIMIT, "too many unanswered requests", ref=frame.ref, retry_after_ms=retry_ms
            )
        elif isinstance(frame, SetCursors):
            self._set_cursors(session, frame)
        else:
            self._read(session, frame)

    def _read(self, session: Session, frame: Reading) -> None:
        session.in_flight += 1
        waiting = self._waiting.get(session)
        if waiting is not None:
            waiting.append(frame)
        else:
            self._waiting[session] = deque([frame])
            self._tasks.spawn("requests", self._answer_all(session))

    async def _answer_all(self, session: Session) -> None:
        waiting = self._waiting[session]
        try:
            while waiting and not session.gone:
                await self._answer(session, waiting.popleft())
                session.in_flight -= 1
        except Exception:
            session.end(Code.INTERNAL, "the node met a fault in a request", FAULT_RETURN_MS)
            raise
        finally:
            del self._waiting[session]

    async def _answer(self, session: Session, frame: Reading) -> None:
        try:
            if isinstance(frame, Fetch):
                await self._fetch(session, frame)
            else:
                await self._list(session, frame)
        except StorageError as error:
            retry_ms = self._limits.retry_after_ms(error.code)
            session.refuse(error.code, error.told, ref=frame.ref, retry_after_ms=retry_ms)

    async def _fetch(self, session: Session, frame: Fetch) -> None:
        page = await self._log.read(
            session.app,
            frame.conv,
            session.user,
            after=frame.after,
            before=frame.before,
            limit=frame.limit,
            bytes_max=self._limits.page_bytes_max // 2,
        )
        if isinstance(page, Refused):
            session.refuse(page.code, page.reason, ref=frame.ref)
            return
        self._send_page(session, frame.ref, self._encoded(frame, page))

    def _encoded(self, frame: Fetch, page: Page) -> bytes:
        """The answer to a fetch. It is cut to what fits, for more than bodies takes room: then it is not complete."""
        entries = page.entries
        while True:
            answer = Entries(
                ref=frame.ref,
                conv=frame.conv,
                entries=entries,
                head=page.head,
                first_seq=page.first_seq,
                complete=page.complete and len(entries) == len(page.entries),
            )
            message = encode(answer)
            if len(message) <= self._limits.page_bytes_max or len(entries) <= 1:
                return message
            entries = entries[: len(entries) // 2]

    async def _list(self, session: Session, frame: List) -> None:
        """Large last entries make a large page: then the client gets a smaller one, and the mark of the next."""
        limit = frame.limit
        while True:
            try:
                found = await listing(self._log, session.app, session.user, page=frame.page, limit=limit)
            except ValueError as error:
                session.refuse(Code.INVALID_REQUEST, str(error), ref=frame.ref)
                return
            message = encode(Conversations(ref=frame.ref, items=found.items, next_page=found.next_page))
            if len(message) <= self._limits.page_bytes_max or limit == 1:
                self._send_page(session, frame.ref, message)
                return
            limit = max(1, min(limit, len(found.items)) // 2)

    def _send_page(self, session: Session, ref: int, message: bytes) -> None:
        """Answer, unless so much is still unread that the page would count the client as a slow reader."""
        if session.socket.buffered_bytes > self._limits.page_bytes_max:
            retry_ms = self._limits.retry_after_ms(Code.BUSY)
            session.refuse(Code.BUSY, "read the earlier answers first", ref=ref, retry_after_ms=retry_ms)
        else:
            session.write(message)

    def _set_cursors(self, session: Session, frame: SetCursors) -> None:
        def answer(refused: Refused | None) -> None:
            session.in_flight -= 1
            if refused is None:
                session.send(Done(ref=frame.ref))
            else:
                retry_ms = self._limits.retry_after_ms(refused.code)
                session.refuse(refused.code, refused.reason, ref=frame.ref, retry_after_ms=retry_ms)

        session.in_flight += 1
        self._receipts.submit(session.app, session.user, frame.cursors, answer)


def _problem(frame: Fetch | List | SetCursors) -> str:
    """What is wrong with a request, or nothing. Asked before anything of it is kept."""
    match frame:
        case Fetch():
            return _problem_of_fetch(frame)
        case List():
            if not 0 < frame.limit <= LIST_LIMIT_MAX:
                return f"the limit is 1 to {LIST_LIMIT_MAX}"
            return "`page` is no mark of this server" if len(frame.page) > PAGE_MARK_CHARS_MAX else ""
        case SetCursors():
            good = len(frame.cursors) <= CURSORS_MAX and all(
                _is_log_id(at.conv) and _in_range(at.read) and _in_range(at.delivered) for at in frame.cursors
            )
            return "" if good else f"at most {CURSORS_MAX} cursors of conversations, 0 to 2^53-1"


def _problem_of_fetch(frame: Fetch) -> str:
    if not _is_log_id(frame.conv):
        return "`conv` is not a conversation's id"
    both = frame.after is not None and frame.before is not None
    in_range = _in_range(frame.after) and _in_range(frame.before) and 0 < frame.limit <= FETCH_LIMIT_MAX
    good = in_range and not both
    return "" if good else f"give `after` or `before`, not both, and a limit of 1 to {FETCH_LIMIT_MAX}"


def _in_range(value: int | None) -> bool:
    return value is None or 0 <= value <= INTEGER_MAX


def _is_log_id(conv: str) -> bool:
    """An account log's id is a user's with a character before it."""
    try:
        return bool(check_id(account_user(conv) or conv, "conversation"))
    except ModelError:
        return False
