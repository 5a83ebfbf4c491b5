"""Whatever goes wrong, the answer is a `Problem` in JSON with a fitting status, and the node goes on."""

import asyncio
import logging

import pytest

from posthouse.api.errors import STATUSES, ApiError
from posthouse.api.settings import ApiSettings
from posthouse.api.web import ROUTES
from posthouse.protocol.codes import Action, Code, action_of
from posthouse.storage.base import StorageCorrupt, StorageFull, StorageUnavailable
from tests.api.site import ACME, ALICE, Reply, Site, check_promise


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/users/alice/", 404, "not_found"),
        ("GET", "/users/alice/friends", 404, "not_found"),
        ("GET", "/users/", 404, "not_found"),
        ("GET", "/conversations//entries", 404, "not_found"),
        ("DELETE", "/users/alice", 405, "invalid_request"),
        ("POST", "/users/alice", 405, "invalid_request"),
        ("GET", "/tokens", 405, "invalid_request"),
        ("OPTIONS", "/users/alice", 405, "invalid_request"),
        ("TRACE", "/users/alice", 405, "invalid_request"),
        ("GET", "/users/alice?x=1", 400, "invalid_request"),
        ("GET", "/users/%ff", 400, "invalid_request"),
        ("GET", "/users/%zz", 400, "invalid_request"),
        ("GET", "/users/%ed%a0%80", 400, "invalid_request"),
        ("GET", "/users/a%00b", 400, "invalid_request"),
        ("GET", "/users/a%0ab", 400, "invalid_request"),
        ("GET", "/users/%20alice", 400, "invalid_request"),
        ("GET", "/users/" + "x" * 129, 400, "invalid_request"),
        ("GET", "/conversations/a%0d%0ab", 400, "invalid_request"),
        ("GET", "/conversations/team/members/a%00", 405, "invalid_request"),
        ("DELETE", "/conversations/team/members/a%00", 400, "invalid_request"),
    ],
)
async def test_a_request_that_fits_no_route_is_refused_in_json(
    site: Site, method: str, path: str, status: int, code: str
) -> None:
    reply = await site.ask(method, path, ACME)
    assert (reply.status, reply.code) == (status, code), reply.body


async def test_who_takes_the_wrong_method_is_told_the_right_ones(site: Site) -> None:
    """RFC 9110, 15.5.6: a 405 says what there is."""
    reply = await site.ask("POST", "/users/alice", ACME)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, PUT")


async def test_a_body_that_is_too_large_is_refused(site: Site) -> None:
    reply = await site.ask("PUT", "/users/alice", ACME, b'{"name":"' + b"x" * (1 << 20) + b'"}')
    assert (reply.status, reply.code) == (413, "invalid_request")


async def test_a_compressed_body_is_refused_before_it_is_inflated(site: Site) -> None:
    reply = await site.ask(
        "PUT", "/users/alice", ACME, b"\x1f\x8b" + b"\0" * 100, headers={"Content-Encoding": "gzip"}
    )
    assert (reply.status, reply.code) == (415, "invalid_request")


@pytest.mark.parametrize("key", ["x" * 65, "a	b", "é" * 33])
async def test_an_idempotency_key_that_cannot_be_kept_is_refused(site: Site, key: str) -> None:
    reply = await site.ask("PUT", "/users/alice", ACME, {}, headers={"Idempotency-Key": key})
    assert (reply.status, reply.code) == (400, "invalid_request")


@pytest.mark.parametrize("host", ["a b", 'x"onclick="', "evil.example/path?", ""])
async def test_a_host_that_is_none_is_not_repeated(site: Site, host: str) -> None:
    """It would end up in the URLs of /v1/endpoints."""
    reply = await site.ask("GET", "/endpoints", headers={"Host": host})
    assert reply.status == 400


FAULTS = {
    "the database is away": (StorageUnavailable("no connection"), 503, Code.UNAVAILABLE),
    "the disk is full": (StorageFull("disk full"), 503, Code.STORAGE_FULL),
    "a page is damaged": (StorageCorrupt("page 7"), 500, Code.CORRUPT),
    "a bug": (ZeroDivisionError("secret detail"), 500, Code.INTERNAL),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_below_is_told_as_what_it_is(
    site: Site, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    await site.group()
    site.node.fault, status, code = FAULTS[name]
    with caplog.at_level(logging.ERROR):
        reply = await site.say(ALICE, "team", "hello")
    assert (reply.status, reply.body["code"]) == (status, code)
    assert (status == 503) == ("Retry-After" in reply.headers)
    assert "secret detail" not in str(reply.body)
    assert ("a request failed" in caplog.text) == (code is Code.INTERNAL)
    site.node.fault = None
    assert (await site.say(ALICE, "team", "hello")).status == 200


async def test_an_answer_says_when_to_come_back() -> None:
    error = ApiError(Code.RATE_LIMITED, "slow down", retry_after_ms=1_001)
    assert error.headers() == {"Retry-After": "2"}
    assert error.problem().retry_after_ms == 1_001


def test_every_code_that_may_answer_a_request_has_a_status() -> None:
    """Those that only end connections (40xx to 43xx) need none, but for what HTTP uses of them."""
    missing = [
        code
        for code in Code
        if action_of(code) in (Action.RETRY, Action.REFUSED, Action.RESET_REQUEST) and code not in STATUSES
    ]
    assert not missing


def test_a_status_agrees_with_what_the_code_says_to_do() -> None:
    for code, status in STATUSES.items():
        if action_of(code) is Action.RETRY and code is not Code.HELD_BACK:
            assert status in (429, 503)
        if action_of(code) is Action.REAUTHENTICATE:
            assert status == 401


async def test_line_breaks_of_strangers_reach_no_answer(site: Site) -> None:
    reply = await site.ask("PUT", "/users/alice", ACME, b'{"a\\nlevel=error":1}')
    assert (reply.status, reply.body["reason"].isprintable()) == (400, True)


BEGUN = (
    "PUT /v1/users/alice HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
    f"X-Api-Key: {ACME.headers['X-Api-Key']}\r\n\r\n{{"
).encode()
"""A request whose body has only begun."""


class TestSlowly:
    """A client that sends a byte a minute."""

    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(request_timeout_ms=50)

    async def test_a_body_that_does_not_come_in_time_is_given_up(self, site: Site) -> None:
        host, port = site.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(BEGUN)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"invalid_request"' in answer


async def test_a_client_that_goes_away_in_the_middle_of_its_body_is_no_fault(
    site: Site, answered: list[tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(BEGUN)
    await writer.drain()
    await site.get("/endpoints")
    writer.transport.abort()
    for _ in range(100):
        if ("put_user", 400) in answered:
            break
        await asyncio.sleep(0.01)
    assert "a request failed" not in caplog.text
    assert (await site.get("/users/alice", ACME)).status == 404


async def test_every_answer_is_counted_by_route_and_status(
    site: Site, answered: list[tuple[str, int]]
) -> None:
    await site.get("/users/alice", ACME)
    await site.get("/users/alice")
    await site.get("/nothing")
    await site.get("/endpoints")
    assert answered == [("get_user", 404), ("get_user", 401), ("unknown", 404), ("list_endpoints", 200)]


def test_every_route_has_a_name_of_its_own() -> None:
    names = [route.name for route in ROUTES]
    assert len(set(names)) == len(names)


def test_the_check_of_promises_can_fail() -> None:
    with pytest.raises(Exception, match="required"):
        check_promise("GET", "/users/alice", Reply(404, {"code": 1}, {}))
