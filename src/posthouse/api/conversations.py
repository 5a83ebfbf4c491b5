"""Conversations: creating, listing, describing."""

import msgspec

from posthouse.api.call import Call
from posthouse.api.credentials import Access
from posthouse.api.errors import WRITING, ApiError
from posthouse.api.routes import Routes
from posthouse.api.shapes import (
    ChangeConversation,
    ConversationPath,
    ConversationView,
    ConversationViews,
    ListQuery,
    NewConversation,
    NewMember,
    given,
    view_of_conversation,
)
from posthouse.messaging.listing import listing
from posthouse.model.conversation import History, Kind, Role
from posthouse.model.ids import direct_id
from posthouse.protocol.codes import Code
from posthouse.storage.base import Create, Describe

NO_PROPERTIES = msgspec.Raw(b"{}")

routes = Routes()


@routes.post("/conversations", Access.EITHER, *WRITING)
async def create_conversation(call: Call, body: NewConversation) -> ConversationView:
    """Create a conversation. Repeated with the same key or id it is created once; a direct one is always the same."""
    call.must_bring_together()
    members = _first_members(call, body)
    usual = History.ALL if body.kind is Kind.CHANNEL else History.JOINED
    change = Create(
        kind=body.kind,
        members=members,
        title=body.title,
        history=body.history or usual,
        properties=given(body.properties) or NO_PROPERTIES,
    )
    conv = _conversation_id(call, body, [user for user, _ in members])
    _ = await call.change(conv, change)
    return await _view(call, conv)


@routes.get("/conversations", Access.EITHER)
async def list_conversations(call: Call, query: ListQuery) -> ConversationViews:
    """A user's conversations, newest activity first, with last entry, unread and mention counts, and cursors."""
    user = call.caller.user or query.user
    if not user:
        raise ApiError(Code.INVALID_REQUEST, "say whose conversations: ?user=")
    if query.user not in ("", user):
        raise ApiError(Code.NOT_ALLOWED, "users list only their own conversations")
    found = await listing(call.reader, call.app, user, page=query.page, limit=query.limit)
    return ConversationViews(items=found.items, next_page=found.next_page)


@routes.get("/conversations/{conv}", Access.EITHER, 404)
async def get_conversation(call: Call, path: ConversationPath) -> ConversationView:
    """One conversation's facts, for its members and the back end."""
    return await _view(call, path.conv)


@routes.patch("/conversations/{conv}", Access.EITHER, *WRITING)
async def change_conversation(
    call: Call, path: ConversationPath, body: ChangeConversation
) -> ConversationView:
    """Change a conversation's title or properties; owners and admins may."""
    change = Describe(body.title, given(body.properties))
    if change == Describe():
        raise ApiError(Code.INVALID_REQUEST, "give a title or properties to change")
    _ = await call.change(path.conv, change)
    return await _view(call, path.conv)


async def _view(call: Call, conv: str) -> ConversationView:
    await call.must_know(conv)
    found = await call.reader.conversation(call.app, conv)
    if found is None:
        raise ApiError(Code.NOT_FOUND, "there is no such conversation")
    return view_of_conversation(found)


def _first_members(call: Call, body: NewConversation) -> tuple[tuple[str, Role], ...]:
    """Who is named, with their roles; a user who creates comes first, as the owner, where there are owners."""
    usual = Role.READER if body.kind is Kind.CHANNEL else Role.MEMBER
    named = [(m.user, m.role) if isinstance(m, NewMember) else (m, usual) for m in body.members]
    if call.caller.is_back_end:
        return tuple(named)
    own_role = Role.MEMBER if body.kind is Kind.DIRECT else Role.OWNER
    return ((call.caller.user, own_role), *(pair for pair in named if pair[0] != call.caller.user))


def _conversation_id(call: Call, body: NewConversation, users: list[str]) -> str:
    if body.kind is not Kind.DIRECT:
        return body.conv or call.derived_id()
    if len(users) != 2:
        raise ApiError(Code.INVALID_REQUEST, "a direct conversation has two users")
    conv = direct_id(*users)
    if body.conv not in ("", conv):
        raise ApiError(
            Code.INVALID_REQUEST, "the id of a direct conversation follows from its users: leave `conv` out"
        )
    return conv
