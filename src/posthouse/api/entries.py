"""Sending entries without a connection, and reading history."""

from posthouse.api.call import Call
from posthouse.api.credentials import Access
from posthouse.api.errors import WRITING, ApiError
from posthouse.api.routes import Routes
from posthouse.api.shapes import ConversationPath, Entries, EntriesQuery, NewEntry, Written
from posthouse.model.content import check_body
from posthouse.model.entry import CUSTOM_PREFIX, MESSAGE
from posthouse.model.errors import InvalidContent
from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Refused

routes = Routes()


@routes.post("/conversations/{conv}/entries", Access.EITHER, *WRITING)
async def send_entry(call: Call, path: ConversationPath, body: NewEntry) -> Written:
    """Send an entry. Answered once it is durable; repeated with the same name it is stored once."""
    append = _append(call, path.conv, body)
    done = await call.append(append)
    return Written(
        conv=path.conv,
        seq=done.seq,
        at_ms=done.at_ms,
        ordinal=done.ordinal,
        client_id=append.client_id,
        duplicate=done.duplicate,
    )


@routes.get("/conversations/{conv}/entries", Access.EITHER, 404)
async def list_entries(call: Call, path: ConversationPath, query: EntriesQuery) -> Entries:
    """History in both directions, as the caller may see it. By default the newest entries, falling."""
    user = None if call.caller.is_back_end else call.caller.user
    page = await call.reader.read(
        call.app, path.conv, user, after=query.after, before=query.before, limit=query.limit
    )
    if isinstance(page, Refused):
        raise ApiError(page.code, page.reason)
    return Entries(entries=page.entries, head=page.head, first_seq=page.first_seq, complete=page.complete)


def _append(call: Call, conv: str, body: NewEntry) -> Append:
    if body.kind != MESSAGE and not body.kind.startswith(CUSTOM_PREFIX):
        raise ApiError(Code.UNKNOWN_KIND, f"send {MESSAGE!r} or kinds that begin with {CUSTOM_PREFIX!r}")
    if body.sender and not call.caller.is_back_end and body.sender != call.caller.user:
        raise ApiError(Code.NOT_ALLOWED, "users send only as themselves")
    if body.client_id and call.key and body.client_id != call.key:
        raise ApiError(Code.INVALID_REQUEST, "`client_id` and Idempotency-Key differ: give one of them")
    try:
        check_body(body.body)
    except InvalidContent as error:
        raise ApiError(Code.INVALID_CONTENT, str(error)) from None
    return Append(
        app=call.app,
        conv=conv,
        kind=body.kind,
        client_id=body.client_id or call.client_id(),
        made_at_ms=call.context.clock.now_ms() if body.made_at is None else body.made_at,
        body=bytes(body.body),
        sender=call.caller.user or body.sender,
        device=call.caller.device,
        reply_to=body.reply_to,
        mentions=body.mentions,
        trusted=call.caller.is_back_end,
    )
