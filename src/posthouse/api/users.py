"""What an app says about its users, and tokens for them."""

import msgspec

from posthouse.api.call import Call
from posthouse.api.credentials import Access
from posthouse.api.errors import ApiError
from posthouse.api.routes import Routes
from posthouse.api.shapes import (
    DescribeUser,
    NewToken,
    PresenceView,
    PresenceViews,
    Token,
    UserPath,
    UsersQuery,
    UserView,
    UserViews,
    given,
    view_of_user,
)
from posthouse.protocol.codes import Code
from posthouse.storage.base import User

routes = Routes()


@routes.put("/users/{user}", Access.EITHER)
async def put_user(call: Call, path: UserPath, body: DescribeUser) -> UserView:
    """Describe a user. Users may set their own name and avatar, if the configuration lets them."""
    _may_describe(call, path.user, body)
    said = msgspec.structs.asdict(body) | {"properties": given(body.properties)}
    changes = {name: value for name, value in said.items() if value is not None}
    async with call.context.user_lock(call.app, path.user):
        known = await call.reader.users(call.app, [path.user])
        before = known[0] if known else User(user=path.user)
        stored = await call.context.service.put_user(call.app, msgspec.structs.replace(before, **changes))
    return view_of_user(stored, whole=call.caller.is_back_end)


@routes.get("/users/{user}", Access.EITHER, 404)
async def get_user(call: Call, path: UserPath) -> UserView:
    """One user, if the app has described them."""
    found = await call.reader.users(call.app, [path.user])
    if not found:
        raise ApiError(Code.NOT_FOUND, "the app has not described this user")
    return view_of_user(found[0], whole=call.caller.is_back_end)


@routes.get("/users", Access.EITHER)
async def get_users(call: Call, query: UsersQuery) -> UserViews:
    """Those of many users whom the app has described."""
    found = await call.reader.users(call.app, query.ids)
    whole = call.caller.is_back_end
    return UserViews(users=tuple(view_of_user(user, whole=whole) for user in found))


@routes.get("/presence", Access.BACK_END)
async def get_presence(call: Call, query: UsersQuery) -> PresenceViews:
    """Who is connected now. For back ends: whom to show whose presence is the app's to decide."""
    online = await call.context.service.online(call.app, query.ids)
    return PresenceViews(
        users=tuple(
            PresenceView(user=user, online=here) for user, here in zip(query.ids, online, strict=True)
        )
    )


@routes.post("/tokens", Access.BACK_END)
async def create_token(call: Call, body: NewToken) -> Token:
    """An access token for a user: what a back end hands to its client after its own login."""
    issuer, settings = call.context.issuer, call.context.settings
    ttl_s = body.ttl_s or min(settings.token_ttl_s, settings.token_ttl_s_max)
    if ttl_s > settings.token_ttl_s_max:
        raise ApiError(Code.INVALID_REQUEST, f"ttl_s is at most {settings.token_ttl_s_max}")
    if not issuer.can_issue(call.app):
        raise ApiError(
            Code.NOT_ALLOWED, "this app signs its tokens itself: the server has no key to sign with"
        )
    if call.context.service.is_blocked(call.app, body.user):
        raise ApiError(Code.BLOCKED, "the application has blocked this user")
    now_s = call.context.clock.now_ms() // 1000
    token = issuer.issue(call.app, body.user, now_s=now_s, ttl_s=ttl_s, device=body.device)
    return Token(token=token, user=body.user, expires_s=now_s + ttl_s)


def _may_describe(call: Call, user: str, body: DescribeUser) -> None:
    if call.caller.is_back_end:
        return
    if call.caller.user != user:
        raise ApiError(Code.NOT_ALLOWED, "users describe only themselves")
    if not call.context.settings.users_edit_profile:
        raise ApiError(Code.NOT_ALLOWED, "only the app's back end describes users (api.users_edit_profile)")
    if given(body.properties) is not None or body.blocked is not None:
        raise ApiError(Code.NOT_ALLOWED, "users set their name and avatar; the rest is the app's to say")
