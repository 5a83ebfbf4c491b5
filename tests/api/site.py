"""An API on a real database and a real port, and a client that holds every answer against the OpenAPI document."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import msgspec
from jsonschema import Draft202012Validator
from prometheus_client import CollectorRegistry, generate_latest
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from yarl import URL

from posthouse.api.operating import Drained, Events, EventView, Move, Nodes, NodeStatus, Refused
from posthouse.api.service import Endpoint
from posthouse.api.web import openapi_json
from posthouse.auth.keys import Algorithm, AppKeys, SigningKey, api_key_hash
from posthouse.auth.operators import OperatorKeys
from posthouse.auth.tokens import TokenIssuer
from posthouse.health.readiness import Readiness
from posthouse.kit.clock import ManualClock
from posthouse.messaging.readers import ROSTER_KINDS, account_appends
from posthouse.model.cursor import Cursor
from posthouse.storage.base import FEED_START, Append, CursorUpdate, Database, Outcome, User

KEYS = {app: f"ph_the-api-key-of-{app}" for app in ("acme", "umbrella")}
APPS = {
    app: AppKeys(
        signing=(
            SigningKey(
                kid="k1", algorithm=Algorithm.HS256, secret=f"a secret of {app}, long enough to be one"
            ),
        ),
        api_key_hashes=(api_key_hash(key),),
    )
    for app, key in KEYS.items()
}


class Caller(NamedTuple):
    """Headers that say who is calling."""

    headers: Mapping[str, str]


NOBODY = Caller({})
ACME = Caller({"X-Api-Key": KEYS["acme"]})
UMBRELLA = Caller({"X-Api-Key": KEYS["umbrella"]})


def user(name: str, app: str = "acme", device: str = "") -> Caller:
    """A user with a good token."""
    now_s = ManualClock().now_ms() // 1000
    token = TokenIssuer(APPS).issue(app, name, now_s=now_s, ttl_s=3600, device=device)
    return Caller({"Authorization": f"Bearer {token}"})


OPERATOR = Caller({"X-Operator-Key": "pho_the-operator-s-key"})
OPERATORS = OperatorKeys([api_key_hash(OPERATOR.headers["X-Operator-Key"])])
ALICE, BOB, CAROL, MALLORY = (user(name) for name in ("alice", "bob", "carol", "mallory"))


class Node:
    """A node with nothing but a database; `fault` makes it fail."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.appends: list[Append] = []
        self.blocked: set[tuple[str, str]] = set()
        self.readiness = Readiness(True, "the database commits")
        self.alone = False
        self.fault: Exception | None = None
        self.registry = CollectorRegistry()

    async def append(self, append: Append) -> Outcome:
        if self.fault is not None:
            raise self.fault
        self.appends.append(append)
        return (await self.database.append([append]))[0]

    async def put_user(self, app: str, user: User) -> User:
        (self.blocked.add if user.blocked else self.blocked.discard)((app, user.user))
        return await self.database.put_user(app, user)

    def is_blocked(self, app: str, user: str) -> bool:
        return (app, user) in self.blocked

    async def online(self, app: str, users: Sequence[str]) -> Sequence[bool | None]:
        return [{"alice": True, "bob": False}.get(user) for user in users]

    def endpoints(self, host: str, *, secure: bool, reasons: bool) -> Sequence[Endpoint]:
        found = Endpoint(f"{'wss' if secure else 'ws'}://{host}/v1/ws")
        return [msgspec.structs.replace(found, reason="the only one") if reasons else found]

    def is_alone(self) -> bool:
        return self.alone

    def ready(self) -> Readiness:
        return self.readiness

    def metrics_text(self) -> bytes:
        return generate_latest(self.registry)

    async def keep_lists(self) -> None:
        """What the feed's reader does on a running node: users' lists follow from memberships."""
        for item in await self.database.tail(FEED_START, 1_000, ROSTER_KINDS):
            await self.database.append(account_appends(item))

    async def read_up_to(self, app: str, who: str, conv: str, seq: int) -> None:
        """What a client does over its connection."""
        await self.database.advance([CursorUpdate(app, who, Cursor(conv, seq, seq))])


class Cluster:
    """A cluster of `a`, `b` and `c`, of which `c` cannot be spared."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def nodes(self) -> Nodes:
        found = tuple(node_status(name) for name in "abc")
        return Nodes(asked="a", known=True, why="3 of 3 nodes are there", nodes=found)

    def drain(self, node: str, within_s: float, undo: bool) -> Drained:
        if node not in "abc":
            raise KeyError(node)
        if node == "c":
            raise Refused("no other node could take its sessions")
        self.told.append((node, within_s, undo))
        return Drained(node=node, sessions=7, reason=f"{node} drains")

    def rebalance(self, dry_run: bool) -> Sequence[Move]:
        self.told.append(("rebalance", dry_run))
        return [Move(node="a", sessions=3, reason="a sheds")]

    def events(self, limit: int, kind: str, subject: str) -> Events:
        self.told.append(("events", limit, kind, subject))
        event = EventView(
            at_ms=1,
            node="a",
            incarnation=1,
            number=1,
            kind="drain",
            subject="b",
            why="b drains",
            dry_run=True,
        )
        return Events(asked="a", events=(event,))


def node_status(name: str) -> NodeStatus:
    numbers = dict.fromkeys(
        ("silent_s", "up_s", "deliveries_per_s", "errors_per_s", "latency_ms", "cpu", "memory", "network"),
        0.5,
    )
    texts = dict.fromkeys(("why", "reason", "zone", "version", "clients_url", "api_url"), "text")
    return NodeStatus(
        node=name,
        presence="live",
        ready=True,
        draining=False,
        sessions=7,
        in_flight=0,
        loop_lag_ms=1.0,
        weight=1.0,
        share=0.3,
        agent_port=0,
        **numbers,  # type: ignore[arg-type]
        **texts,  # type: ignore[arg-type]
    )


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        """The name of the refusal's code."""
        return str(self.body["name"])


class Site:
    """A client of one API. Each answer must be what the OpenAPI document promises."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, node: Node, clock: ManualClock, cluster: Cluster
    ) -> None:
        self.url = url
        self.session = session
        self.node = node
        self.clock = clock
        self.cluster = cluster

    async def ask(
        self,
        method: str,
        path: str,
        caller: Caller = NOBODY,
        body: object = None,
        *,
        key: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request of a route under /v1. `path` is sent as it is; quote ids with `part`."""
        sent = dict(caller.headers) | ({"Idempotency-Key": key} if key else {}) | dict(headers or {})
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        data = None if raw is None else BytesIO(raw)
        url = URL(f"{self.url}/v1{path}", encoded=True)
        async with self.session.request(method, url, data=data, headers=sent) as response:
            reply = Reply(response.status, json.loads(await response.read()), response.headers)
        assert response.content_type == "application/json"
        check_promise(method, path, reply)
        return reply

    async def get(self, path: str, caller: Caller = NOBODY) -> Reply:
        return await self.ask("GET", path, caller)

    async def post(self, path: str, caller: Caller, body: object, *, key: str = "") -> Reply:
        return await self.ask("POST", path, caller, body, key=key)

    async def group(self, *members: str, conv: str = "team", owner: Caller = ALICE, **more: object) -> str:
        """A group that `owner` has created."""
        made = await self.post(
            "/conversations", owner, {"kind": "group", "conv": conv, "members": members} | more
        )
        assert made.status == 200, made
        return str(made.body["conv"])

    async def say(self, caller: Caller, conv: str, text: str, **more: object) -> Reply:
        """Send a message."""
        return await self.post(
            f"/conversations/{part(conv)}/entries", caller, {"body": {"text": text}} | more
        )


def part(value: str) -> str:
    """An id as one part of a path."""
    return quote(value, safe="")


def check_promise(method: str, path: str, reply: Reply) -> None:
    """Fail unless the reply has the shape that the document gives for its operation."""
    name = "Problem"
    if reply.status == 200:
        name = answer_shape(method, path.partition("?")[0])
    operation = operation_at(method, path.partition("?")[0])
    assert operation is None or str(reply.status) in operation["responses"], (
        f"{method} {path}: {reply.status}"
    )
    shape_validator(name).validate(reply.body)
    if name == "Problem":
        assert set(reply.body) <= {"code", "name", "reason", "retry_after_ms"}
        assert ("retry_after_ms" in reply.body) == ("Retry-After" in reply.headers)
        assert reply.body["reason"].isprintable()


def answer_shape(method: str, path: str) -> str:
    """The name of the schema that answers a route."""
    operation = operation_at(method, path)
    assert operation is not None, f"{method} {path} is not in the document"
    content = operation["responses"]["200"]["content"]
    return str(content["application/json"]["schema"]["$ref"].rpartition("/")[2])


def operation_at(method: str, path: str) -> dict[str, Any] | None:
    """What the document says of a route, if it is one."""
    for template, operations in document()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), f"/v1{path}"):
            found: dict[str, Any] | None = operations.get(method.lower())
            return found
    return None


@cache
def document() -> dict[str, Any]:
    return msgspec.json.decode(openapi_json(), type=dict[str, Any])


@cache
def shape_validator(name: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resource("urn:api", DRAFT202012.create_resource(document()))
    return Draft202012Validator({"$ref": f"urn:api#/components/schemas/{name}"}, registry=registry)
