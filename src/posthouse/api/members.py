"""Who belongs to a conversation, with which role."""

from posthouse.api.call import Call
from posthouse.api.credentials import Access
from posthouse.api.errors import WRITING
from posthouse.api.routes import Routes
from posthouse.api.shapes import (
    AddMembers,
    ChangeMember,
    ConversationPath,
    Cursors,
    CursorsQuery,
    MemberPath,
    Members,
    MembersQuery,
    Written,
)
from posthouse.model.conversation import Kind, Role
from posthouse.storage.base import Appended, Join, Leave, SetRole

routes = Routes()


@routes.get("/conversations/{conv}/members", Access.EITHER, 404)
async def list_members(call: Call, path: ConversationPath, query: MembersQuery) -> Members:
    """A page of the members, for members and the back end."""
    await call.must_know(path.conv)
    found = await call.reader.members(call.app, path.conv, after=query.after, limit=query.limit)
    more = len(found) == query.limit
    return Members(members=tuple(found), next_after=found[-1].user if more else "")


@routes.post("/conversations/{conv}/members", Access.EITHER, *WRITING)
async def add_members(call: Call, path: ConversationPath, body: AddMembers) -> Written:
    """Add members; those who are members already stay as they are. Owners and admins may."""
    call.must_bring_together()
    role = body.role
    if role is None:
        found = await call.reader.conversation(call.app, path.conv)
        role = Role.READER if found is not None and found.kind is Kind.CHANNEL else Role.MEMBER
    return written(path.conv, await call.change(path.conv, Join(body.users, role)))


@routes.patch("/conversations/{conv}/members/{user}", Access.EITHER, *WRITING)
async def change_member(call: Call, path: MemberPath, body: ChangeMember) -> Written:
    """Give a member another role. Admins may up to `member`, owners everything."""
    return written(path.conv, await call.change(path.conv, SetRole(path.user, body.role)))


@routes.delete("/conversations/{conv}/members/{user}", Access.EITHER, *WRITING)
async def remove_member(call: Call, path: MemberPath) -> Written:
    """Remove a member, or leave. Owners and admins may remove others."""
    return written(path.conv, await call.change(path.conv, Leave((path.user,))))


@routes.get("/conversations/{conv}/cursors", Access.EITHER, 404)
async def list_cursors(call: Call, path: ConversationPath, query: CursorsQuery) -> Cursors:
    """How far members have read and received: receipts on demand."""
    await call.must_know(path.conv)
    return Cursors(cursors=tuple(await call.reader.cursors(call.app, path.conv, query.users)))


def written(conv: str, appended: Appended) -> Written:
    """The answer for an entry that reports a change."""
    return Written(
        conv=conv,
        seq=appended.seq,
        at_ms=appended.at_ms,
        ordinal=appended.ordinal,
        duplicate=appended.duplicate,
    )
