"""Requests that wait for the database: fetch, list, cursors. Each runs in a task; a session has few at once."""

from posthouse.gateway.limits import GatewayLimits
from posthouse.gateway.session import Session
from posthouse.kit.tasks import Tasks
from posthouse.messaging.receipts import Receipts
from posthouse.model.errors import ModelError
from posthouse.model.ids import INTEGER_MAX, check_id
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
from posthouse.protocol.phases import Step
from posthouse.storage.base import Log, Refused, StorageError


class Requests:
    """Carries out the requests of all sessions of one gateway."""

    def __init__(self, log: Log, receipts: Receipts, tasks: Tasks, limits: GatewayLimits) -> None:
        self._log = log
        self._receipts = receipts
        self._tasks = tasks
        self._limits = limits

    def start(self, session: Session, what: Step, frame: ClientFrame) -> None:
        """Begin a request; its answer names the frame's `ref`."""
        assert isinstance(frame, Fetch | List | SetCursors)
        if session.in_flight >= self._limits.in_flight_max:
            retry_ms = self._limits.retry_after_ms(Code.IN_FLIGHT_LIMIT)
            session.refuse(
                Code.IN_FLIGHT_LIMIT, "too many unanswered requests", ref=frame.ref, retry_after_ms=retry_ms
            )
            return
        session.in_flight += 1
        if isinstance(frame, SetCursors):
            self._set_cursors(session, frame)
        else:
            self._tasks.spawn(what.value, self._answer(session, frame))

    async def _answer(self, session: Session, frame: Fetch | List) -> None:
        try:
            if isinstance(frame, Fetch):
                await self._fetch(session, frame)
            else:
                await self._list(session, frame)
        except StorageError as error:
            retry_ms = self._limits.retry_after_ms(error.code)
            session.refuse(error.code, str(error), ref=frame.ref, retry_after_ms=retry_ms)
        finally:
            session.in_flight -= 1

    async def _fetch(self, session: Session, frame: Fetch) -> None:
        if not _is_id(frame.conv):
            session.refuse(Code.INVALID_REQUEST, "`conv` is not a conversation's id", ref=frame.ref)
            return
        both = frame.after is not None and frame.before is not None
        if (
            both
            or not 0 < frame.limit <= FETCH_LIMIT_MAX
            or not _in_range(frame.after)
            or not _in_range(frame.before)
        ):
            reason = f"give `after` or `before`, not both, and a limit of 1 to {FETCH_LIMIT_MAX}"
            session.refuse(Code.INVALID_REQUEST, reason, ref=frame.ref)
            return
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
        answer = Entries(
            ref=frame.ref,
            conv=frame.conv,
            entries=page.entries,
            head=page.head,
            first_seq=page.first_seq,
            complete=page.complete,
        )
        self._send_page(session, frame.ref, answer)

    async def _list(self, session: Session, frame: List) -> None:
        if not 0 < frame.limit <= LIST_LIMIT_MAX:
            session.refuse(Code.INVALID_REQUEST, f"the limit is 1 to {LIST_LIMIT_MAX}", ref=frame.ref)
            return
        limit = frame.limit
        while True:
            try:
                found = await self._log.summaries(session.app, session.user, page=frame.page, limit=limit)
            except ValueError as error:
                session.refuse(Code.INVALID_REQUEST, str(error), ref=frame.ref)
                return
            answer = Conversations(ref=frame.ref, items=found.items, next_page=found.next_page)
            if limit == 1 or self._fits(answer):
                self._send_page(session, frame.ref, answer)
                return
            limit = max(1, min(limit, len(found.items)) // 2)

    def _fits(self, answer: Conversations) -> bool:
        """Large last entries make a large page: then the client gets a smaller one, and the mark of the next."""
        return len(encode(answer)) <= self._limits.page_bytes_max

    def _send_page(self, session: Session, ref: int, answer: Entries | Conversations) -> None:
        """Answer, unless so much is still unread that the page would count the client as a slow reader."""
        if session.socket.buffered_bytes > self._limits.page_bytes_max:
            retry_ms = self._limits.retry_after_ms(Code.BUSY)
            session.refuse(Code.BUSY, "read the earlier answers first", ref=ref, retry_after_ms=retry_ms)
        else:
            session.send(answer)

    def _set_cursors(self, session: Session, frame: SetCursors) -> None:
        def answer(refused: Refused | None) -> None:
            session.in_flight -= 1
            if refused is None:
                session.send(Done(ref=frame.ref))
            else:
                retry_ms = self._limits.retry_after_ms(refused.code)
                session.refuse(refused.code, refused.reason, ref=frame.ref, retry_after_ms=retry_ms)

        if len(frame.cursors) > CURSORS_MAX or not all(
            _is_id(at.conv) and _in_range(at.read) and _in_range(at.delivered) for at in frame.cursors
        ):
            answer(
                Refused(Code.INVALID_REQUEST, f"at most {CURSORS_MAX} cursors of conversations, 0 to 2^53-1")
            )
            return
        self._receipts.submit(session.app, session.user, frame.cursors, answer)


def _in_range(value: int | None) -> bool:
    return value is None or 0 <= value <= INTEGER_MAX


def _is_id(conv: str) -> bool:
    try:
        return bool(check_id(conv, "conversation"))
    except ModelError:
        return False
