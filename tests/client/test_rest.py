"""What the SDK asks of the REST API, and how it asks again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from posthouse.client import (
    Client,
    InvalidArgument,
    NotConnected,
    Profile,
    RequestFailed,
    RequestRefused,
    Runtime,
)
from posthouse.kit.clock import ManualClock
from posthouse.model.conversation import History, Role
from posthouse.protocol.codes import Code

Json = dict[str, Any]


class Api:
    """Answers as it is told and writes down what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Json | None]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[tuple[int, Json]] = []
        self.url = self.location = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.raw_path, body))
        self.headers.append(dict(request.headers))
        status, answer = self.answers.pop(0) if self.answers else (200, {"conv": "made"})
        headers = {"Location": self.location} if self.location else None
        return web.json_response(answer, status=status, headers=headers)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield api
    await runner.cleanup()


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    async with Runtime(clock=ManualClock()) as runtime:
        yield runtime


@pytest.fixture
def client(api: Api, runtime: Runtime) -> Client:
    """REST needs no session."""
    return Client(api.url, token="secret", runtime=runtime)


async def patiently(runtime: Runtime, ask: Callable[[], Any]) -> Any:
    """Await a request while virtual time passes, so that its waits end."""
    asking = asyncio.ensure_future(ask())
    clock = runtime.clock
    assert isinstance(clock, ManualClock)
    async with asyncio.timeout(5):
        while not asking.done():
            await clock.advance(0.5)
            await asyncio.sleep(0.002)
    return await asking


async def test_conversations_are_created_as_asked_with_the_users_token(api: Api, client: Client) -> None:
    assert (await client.direct("|trey|")).conv == "made"
    group = await client.create_group("Team", ["bob", "eve"], conv="team", history=History.ALL)
    assert group.conv == "made"
    await client.create_channel("News")
    assert api.asked == [
        ("POST", "/v1/conversations", {"kind": "direct", "members": ["|trey|"]}),
        (
            "POST",
            "/v1/conversations",
            {"kind": "group", "members": ["bob", "eve"], "conv": "team", "title": "Team", "history": "all"},
        ),
        ("POST", "/v1/conversations", {"kind": "channel", "members": [], "title": "News"}),
    ]
    assert {headers["Authorization"] for headers in api.headers} == {"Bearer secret"}
    assert len({headers["Idempotency-Key"] for headers in api.headers}) == 3


async def test_ids_are_encoded_in_paths(api: Api, client: Client) -> None:
    room = client.conversation("a/b ü#?%")
    await room.remove("[foo]^/..")
    await room.invite("x", "y", role=Role.ADMIN)
    path = "/v1/conversations/a%2Fb%20%C3%BC%23%3F%25/members"
    assert api.asked == [
        ("DELETE", f"{path}/%5Bfoo%5D%5E%2F..", None),
        ("POST", path, {"users": ["x", "y"], "role": "admin"}),
    ]


async def test_a_role_is_changed_where_the_member_is(api: Api, client: Client) -> None:
    await client.conversation("room").set_role("b/b", Role.ADMIN)
    assert api.asked == [("PATCH", "/v1/conversations/room/members/b%2Fb", {"role": "admin"})]
    assert "Idempotency-Key" in api.headers[0]


async def test_roles_and_histories_may_be_given_by_their_names(api: Api, client: Client) -> None:
    room = client.conversation("room")
    await room.invite("bob", role="admin")
    await room.set_role("bob", "reader")
    await client.create_group(history="all")
    bodies = [body for _, _, body in api.asked]
    assert bodies[0] == {"users": ["bob"], "role": "admin"}
    assert bodies[1] == {"role": "reader"}
    assert bodies[2] == {"kind": "group", "members": [], "history": "all"}


async def test_a_name_that_is_none_is_told_with_those_that_are(api: Api, client: Client) -> None:
    room = client.conversation("room")
    for change in (room.invite("bob", role="boss"), room.set_role("bob", "boss")):
        with pytest.raises(
            InvalidArgument, match="'boss' is no role: use one of owner, admin, member, reader"
        ):
            await change
    with pytest.raises(InvalidArgument, match="'some' is no history: use one of all, joined"):
        await client.create_channel(history="some")
    assert api.asked == []


async def test_profiles_are_read_and_ones_own_is_changed_in_part(api: Api, runtime: Runtime) -> None:
    ann = Client(api.url, token="secret", user="a/nn", runtime=runtime)
    api.answers = [
        (200, {"user": "bob", "name": "Bob", "blocked": False}),
        (200, {"user": "a/nn", "name": "Ann"}),
    ]
    assert await ann.profile("bob") == Profile(user="bob", name="Bob")
    assert (await ann.set_profile(name="Ann", avatar="")).name == "Ann"
    assert api.asked == [
        ("GET", "/v1/users/bob", None),
        ("PUT", "/v1/users/a%2Fnn", {"name": "Ann", "avatar": ""}),
    ]


async def test_who_does_not_know_yet_who_they_are_changes_nobody(api: Api, client: Client) -> None:
    for change in (client.set_profile(name="Ann"), client.conversation("room").leave()):
        with pytest.raises(NotConnected, match="first session"):
            await change
    assert api.asked == []


async def test_what_has_no_method_is_asked_by_path(api: Api, client: Client) -> None:
    api.answers = [(200, {"users": [{"user": "bob"}]}), (503, {"reason": "later"}), (200, {"seq": 7})]
    assert await client.api.request("get", "/v1/users?ids=bob") == {"users": [{"user": "bob"}]}
    runtime = client._runtime
    assert await patiently(runtime, lambda: client.api.request("PUT", "/v1/x", {"a": 1})) == {"seq": 7}
    assert api.asked == [("GET", "/v1/users?ids=bob", None), *[("PUT", "/v1/x", {"a": 1})] * 2]
    assert ["Idempotency-Key" in headers for headers in api.headers] == [False, True, True]
    assert len({headers["Idempotency-Key"] for headers in api.headers[1:]}) == 1


@pytest.mark.parametrize("path", ["@elsewhere.example/v1/", "https://elsewhere.example/v1/", "v1/users"])
async def test_the_token_goes_to_no_other_place_than_the_api(api: Api, client: Client, path: str) -> None:
    with pytest.raises(InvalidArgument, match="/v1/"):
        await client.api.request("GET", path)
    assert api.asked == []


async def test_facts_and_members_are_read(api: Api, client: Client) -> None:
    facts = {
        "conv": "room",
        "kind": "group",
        "head": 7,
        "first_seq": 1,
        "history": "all",
        "members": 3,
        "created_ms": 1,
    }
    member = {"user": "ann", "role": "owner", "joined_seq": 1}
    api.answers = [
        (200, facts),
        (200, {"members": [member], "next_after": "ann"}),
        (200, {"members": [member | {"user": "bob"}]}),
    ]
    room = client.conversation("room")
    info = await room.info()
    assert (info.head, info.members, info.history) == (7, 3, History.ALL)
    assert [member.user async for member in room.members()] == ["ann", "bob"]
    assert [path for _, path, _ in api.asked[1:]] == [
        "/v1/conversations/room/members?limit=500",
        "/v1/conversations/room/members?after=ann&limit=500",
    ]


async def test_a_large_answer_is_read_to_its_end_and_one_without_bounds_is_not(
    api: Api, client: Client, runtime: Runtime
) -> None:
    members = [{"user": f"user {n}" * 10, "role": "member", "joined_seq": n} for n in range(5_000)]
    api.answers = [(200, {"members": members}), (200, {"members": [], "padding": "x" * 9_000_000})]
    room = client.conversation("room")
    assert len([member async for member in room.members()]) == 5_000
    with pytest.raises(RequestFailed, match="longer than"):
        await runtime.http.ask("GET", api.url, {})


async def test_no_redirect_is_followed_and_no_token_handed_on(api: Api, runtime: Runtime) -> None:
    """No node redirects; whoever does is not whom the application named."""
    api.answers, api.location = [(307, {})], f"{api.url}/elsewhere"
    for header in ("Authorization", "X-Operator-Key"):
        assert (await runtime.http.ask("GET", f"{api.url}/here", {header: "secret"})).status in (200, 307)
    assert {path for _, path, _ in api.asked} == {"/here"}


async def test_an_answer_of_another_form_is_no_answer(api: Api, client: Client) -> None:
    api.answers = [(200, {"hello": "world"})]
    with pytest.raises(RequestFailed, match="none of this API"):
        await client.create_group()


async def test_a_change_that_cannot_be_made_now_is_repeated_under_the_same_key(
    api: Api, client: Client, runtime: Runtime
) -> None:
    busy = {"code": int(Code.UNAVAILABLE), "name": "unavailable", "reason": "later", "retry_after_ms": 200}
    api.answers = [(503, busy), (502, {}), (200, {"conv": "made"})]
    await patiently(runtime, lambda: client.create_group("Team"))
    assert len(api.asked) == 3
    assert len({headers["Idempotency-Key"] for headers in api.headers}) == 1


async def test_what_is_refused_is_not_repeated(api: Api, client: Client) -> None:
    api.answers = [
        (404, {"code": int(Code.NOT_MEMBER), "name": "not_member", "reason": "no such conversation"})
    ]
    with pytest.raises(RequestRefused, match="no such conversation") as caught:
        await client.conversation("room").invite("bob")
    assert caught.value.code == Code.NOT_MEMBER
    assert len(api.asked) == 1


async def test_a_refused_token_is_replaced_once(api: Api, runtime: Runtime) -> None:
    tokens = iter(["old", "new", "newer"])
    client = Client(api.url, token=lambda: next(tokens), runtime=runtime)
    refusal = (401, {"code": int(Code.TOKEN_EXPIRED), "name": "token_expired", "reason": "expired"})
    api.answers = [refusal, (200, {"conv": "made"}), refusal, refusal]
    await client.create_group()
    assert [headers["Authorization"] for headers in api.headers] == ["Bearer old", "Bearer new"]
    with pytest.raises(RequestRefused, match="expired"):
        await client.create_group()


async def test_an_api_that_does_not_answer_is_given_up(runtime: Runtime) -> None:
    client = Client("http://127.0.0.1:9", token="x", runtime=runtime)
    with pytest.raises(RequestFailed, match="no answer"):
        await patiently(runtime, lambda: client.create_group())
