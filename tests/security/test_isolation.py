"""Another app's and another user's data, tried by every route and every frame there is.

A route or a frame without a verdict here fails the test: whoever adds one says who may do what with it.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple, get_args
from urllib.parse import quote

import msgspec
import pytest

from posthouse.app.config.values import Canary
from posthouse.auth.operators import operator_key
from posthouse.protocol.frames import ClientFrame
from tests.security.serving import ACME, UMBRELLA, config, running, token
from tests.security.site import (
    ACCOUNT,
    DIRECT,
    SECRET,
    TEAM,
    Frame,
    Headers,
    Reply,
    Town,
    a_send,
    back_end,
    user,
)

REFUSED = {(401, "unauthorized"), (403, "not_allowed"), (404, "not_member"), (404, "not_found")}


class Verdict(NamedTuple):
    """What strangers are told by one route: other apps' callers, and users of the same app who have no part in it.

    `own`: who is answered, about what is their own; everybody else is refused. `query`, `body`: the request.
    """

    own: tuple[str, ...] = ()
    body: object = None
    query: str = ""


ALL = ("umbrella", "umbrella's ann", "mallory", "rex")
UMBRELLAS = ALL[:2]
ROUTES: dict[str, Verdict] = {
    "PUT /v1/users/{user}": Verdict(UMBRELLAS, {"name": "changed"}),
    "GET /v1/users/{user}": Verdict(
        ALL
    ),  # profiles are for the whole app, without what the app keeps for itself
    "GET /v1/users": Verdict(ALL, query="ids=ann&ids=ben"),
    "GET /v1/presence": Verdict(("umbrella",), query="ids=ann"),
    "POST /v1/tokens": Verdict(("umbrella",), {"user": "ann"}),  # for its own ann, see below
    "POST /v1/conversations": Verdict(UMBRELLAS, {"kind": "group", "conv": TEAM, "members": ["ann"]}),
    "GET /v1/conversations": Verdict(UMBRELLAS, query="user=ann"),
    "GET /v1/conversations/{conv}": Verdict(),
    "PATCH /v1/conversations/{conv}": Verdict((), {"title": "changed"}),
    "GET /v1/conversations/{conv}/members": Verdict(),
    "POST /v1/conversations/{conv}/members": Verdict((), {"users": ["mallory", "rex"]}),
    "PATCH /v1/conversations/{conv}/members/{user}": Verdict((), {"role": "reader"}),
    "DELETE /v1/conversations/{conv}/members/{user}": Verdict(),
    "GET /v1/conversations/{conv}/cursors": Verdict(query="users=ann"),
    "POST /v1/conversations/{conv}/entries": Verdict((), {"body": {"text": "x"}, "sender": "ann"}),
    "GET /v1/conversations/{conv}/entries": Verdict(("umbrella's ann", "rex"), query="limit=200"),
}
"""Of entries the one may read their namesake's own account, and rex what he saw as a member; see `is_theirs`."""
FOR_OPERATORS: dict[str, object] = {
    "GET /v1/cluster/nodes": None,
    "POST /v1/cluster/drain": {"node": "none", "within_s": 0},
    "POST /v1/cluster/rebalance": {"dry_run": True},
    "GET /v1/cluster/events": None,
}
OPEN = {"GET /v1/endpoints", "GET /v1/openapi.json", "GET /healthz", "GET /readyz", "GET /metrics"}


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    settings = config(tmp_path / "data", canary=Canary(interval_s=0))
    async with running(settings) as node, Town.around(node) as town:
        await town.furnish()
        yield town


def callers(town: Town) -> dict[str, Headers]:
    return {
        "nobody": {},
        "umbrella": back_end(UMBRELLA),
        "umbrella's ann": user("ann", UMBRELLA),
        "mallory": user("mallory"),
        "rex": user("rex"),
        "an operator": operators(town),
    }


def operators(town: Town) -> Headers:
    secret = town.node.gateway.entrance._resume_tokens._secret.decode()
    return {"X-Operator-Key": operator_key(secret)}


def test_every_route_has_a_verdict(town_s_routes: set[str]) -> None:
    assert town_s_routes == {*ROUTES, *FOR_OPERATORS, *OPEN}


@pytest.fixture
def town_s_routes(tmp_path: Path) -> set[str]:
    """What the web application really serves, whatever the documents say."""
    from posthouse.app.node import Node

    routes = Node(config(tmp_path / "data"))._api.router.routes()
    found = {f"{route.method} {route.resource.canonical}" for route in routes if route.resource is not None}
    return {name for name in found if not name.startswith("HEAD ")}


@pytest.mark.parametrize("route", ROUTES)
async def test_strangers_get_at_nothing_by_any_route(town: Town, route: str) -> None:
    """Whatever the answer, it holds no secret, and acme is afterwards as it was before."""
    before = await town.everything()
    verdict = ROUTES[route]
    for path in paths_of(route, verdict):
        for who, headers in callers(town).items():
            reply = await town.ask(route.split(maxsplit=1)[0], path, headers, verdict.body)
            assert SECRET not in reply.text, (who, path)
            if who in verdict.own and is_theirs(who, path):
                assert reply.status == 200 or reply.name == "exists", (who, path, reply)
            else:
                assert is_refusal(reply), (who, path, reply)
    assert await town.everything() == before


def paths_of(route: str, verdict: Verdict) -> list[str]:
    """A route with acme's ids in it: each kind of log in turn."""
    path = route.split()[1].replace("{user}", "ann") + (f"?{verdict.query}" if verdict.query else "")
    logs = (TEAM, DIRECT, ACCOUNT) if "{conv}" in path else ("",)
    return [path.replace("{conv}", quote(log, safe="")) for log in logs]


def is_theirs(who: str, path: str) -> bool:
    """Whether a route that answers some asks here for what is their own."""
    if not path.startswith("/v1/conversations/"):
        return True
    return path.split("/")[3] == {"rex": TEAM}.get(who, quote(ACCOUNT, safe=""))


def is_refusal(reply: Reply) -> bool:
    """As REFUSED; and that an id is taken cannot be hidden from whoever asks for the same one."""
    return (reply.status, reply.name) in {*REFUSED, (409, "exists")}


@pytest.mark.parametrize("route", FOR_OPERATORS)
async def test_only_an_operator_s_key_opens_the_cluster(town: Town, route: str) -> None:
    """No app's key and no user's token, and who may drain a node is nobody else."""
    method, path = route.split()
    others = {**callers(town), "acme": back_end(ACME), "ann": user("ann")}
    opened = operators(town)
    del others["an operator"]
    forged = [{"X-Operator-Key": "pho_" + "A" * 43}, {"X-Operator-Key": opened["X-Operator-Key"][:-1]}]
    for headers in (*others.values(), *forged, {"X-Api-Key": opened["X-Operator-Key"]}):
        assert (await town.ask(method, path, headers, FOR_OPERATORS[route])).status == 401
    assert (await town.ask(method, path, opened, FOR_OPERATORS[route])).status in (200, 404)


@pytest.mark.parametrize("route", sorted(OPEN))
async def test_what_is_open_to_all_names_no_user_and_no_conversation(town: Town, route: str) -> None:
    method, path = route.split()
    text = (await town.ask(method, path)).text
    assert SECRET not in text
    if path != "/v1/openapi.json":
        assert not {'"ann"', '"ben"', f'"{TEAM}"', DIRECT} & set(text.replace(",", " ").split())


async def test_a_token_that_another_app_s_key_asks_for_is_that_app_s(town: Town) -> None:
    given = (await town.must("POST", "/v1/tokens", back_end(UMBRELLA), {"user": "ann"})).body["token"]
    reply = await town.ask("GET", f"/v1/conversations/{TEAM}", {"Authorization": f"Bearer {given}"})
    assert reply.name == "not_member"


async def test_a_user_acts_for_nobody_else_within_what_is_theirs_too(town: Town) -> None:
    """Ben is in the team: he reads it, and still writes as nobody else and reads nobody else's account."""
    ben = user("ben")
    entry = {"body": {"text": "x"}, "sender": "ann"}
    assert (await town.ask("POST", f"/v1/conversations/{TEAM}/entries", ben, entry)).name == "not_allowed"
    assert (await town.ask("GET", "/v1/conversations?user=ann", ben)).name == "not_allowed"
    assert (await town.ask("GET", "/v1/conversations/~ann/entries", ben)).name == "not_member"
    assert (await town.ask("PATCH", f"/v1/conversations/{TEAM}", ben, {"title": "x"})).name == "not_allowed"
    own = await town.must("GET", f"/v1/conversations/{TEAM}/entries", ben)
    assert SECRET in own.text, "what is tried above is really there"


# Frames -----------------------------------------------------------------------------------------------------------

LOGS = (TEAM, DIRECT, ACCOUNT)
STRANGERS = (("ann", UMBRELLA), ("mallory", ACME), ("rex", ACME))
FRAMES: dict[str, list[Frame]] = {
    "hello": [],  # tried apart, since it begins a session: below, and in test_stolen.py
    "renew": [{"t": "renew", "ref": 1, "token": token("ann")}],
    "send": [a_send(log) for log in LOGS],
    "fetch": [
        {"t": "fetch", "ref": 1, "conv": log, "limit": 200} | where
        for log in LOGS
        for where in ({}, {"after": 0}, {"before": 2**53 - 1})
    ],
    "list": [{"t": "list", "ref": 1}, {"t": "list", "ref": 1, "page": "ann"}],
    "cursor": [{"t": "cursor", "ref": 1, "cursors": [{"conv": log, "read": 3} for log in LOGS]}],
    "ping": [{"t": "ping"}],
}


READABLE = {("rex", TEAM), ("ann", ACCOUNT)}
"""What rex saw as a member; and the account of umbrella's own ann, which is empty."""


def test_every_frame_of_a_client_has_a_verdict() -> None:
    tags = {str(msgspec.inspect.type_info(frame).tag) for frame in get_args(ClientFrame)}  # type: ignore[attr-defined]
    assert tags == set(FRAMES)


@pytest.mark.parametrize("tag", FRAMES)
async def test_strangers_get_at_nothing_by_any_frame(town: Town, tag: str) -> None:
    """Rex, who was a member, reads what was written before he left, as is right, and nothing of later."""
    before = await town.everything()
    for name, app in STRANGERS:
        async with town.talking(token(name, app)) as talk:
            assert talk.first["t"] == "welcome"
            for frame in FRAMES[tag]:
                answer = await talk.ask(frame)
                assert SECRET not in str(talk.heard), (name, frame)
                assert is_nothing(answer, (name, frame.get("conv")) in READABLE), (name, frame, answer)
    assert await town.everything() == before


def is_nothing(answer: Frame, readable: bool) -> bool:
    """What strangers may be answered. Nobody of them has conversations of their own, but rex, who has left one."""
    match answer["t"]:
        case "error":
            return answer["code"] in (4601, 4602, 4202, 4607)
        case "conversations":
            return all(item.get("left") for item in answer["items"])
        case "entries":
            return readable
        case kind:
            return kind in ("done", "pong")


async def test_a_hello_that_names_other_people_s_logs_learns_nothing_of_them(town: Town) -> None:
    for name, app in (("ann", UMBRELLA), ("mallory", ACME)):
        async with town.talking(token(name, app)) as talk:
            welcome = talk.first
        resume = {
            "token": welcome["resume_token"],
            "epoch": welcome["epoch"],
            "positions": dict.fromkeys(LOGS, 0),
        }
        async with town.talking(token(name, app), resume=resume) as talk:
            assert talk.first["t"] == "welcome"
            assert not set(talk.first.get("changed", {})) & {TEAM, DIRECT}


async def test_a_stranger_s_session_hears_nothing_while_others_talk(town: Town) -> None:
    """Everything that is pushed goes to members, also when strangers are mentioned."""
    async with town.talking(token("mallory")) as mallory, town.talking(token("ann", UMBRELLA)) as namesake:
        async with town.talking(token("ann")) as ann, town.talking(token("ben")) as ben:
            send = a_send(TEAM, text=f"{SECRET} again") | {"mentions": ["mallory", "ann"]}
            assert (await ann.ask(send))["t"] == "ack"
            assert (await ben.hear())["t"] == "entry"
            await ben.ask({"t": "cursor", "ref": 1, "cursors": [{"conv": TEAM, "read": 3}]})
        for stranger in (mallory, namesake):
            assert (await stranger.ask({"t": "ping"}))["t"] == "pong"
            assert [frame["t"] for frame in stranger.heard] == ["welcome", "pong"]
