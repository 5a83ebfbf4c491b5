"""Sending without a connection, once however often it is repeated, and reading history in both directions."""

import pytest

from posthouse.model.content import BODY_BYTES_MAX
from posthouse.storage.base import REPEAT_WINDOW_MS
from tests.api.site import ACME, ALICE, BOB, MALLORY, Site, user


async def texts(site: Site, query: str = "?after=0") -> list[str]:
    found = await site.get(f"/conversations/team/entries{query}", ACME)
    return [entry["body"]["text"] for entry in found.body["entries"] if entry["kind"] == "message"]


async def test_a_user_sends(site: Site) -> None:
    """P-7.7, P-8.6: what an ack and an entry say."""
    await site.group("bob")
    sent = await site.say(
        user("alice", device="phone"), "team", "hello", client_id="c1", reply_to=1, mentions=["bob"]
    )
    assert sent.body == {
        "conv": "team",
        "client_id": "c1",
        "seq": 2,
        "at_ms": site.clock.now_ms(),
        "ordinal": 1,
    }
    found = await site.get("/conversations/team/entries?after=1", BOB)
    assert found.body["entries"] == [
        {
            "conv": "team",
            "seq": 2,
            "kind": "message",
            "at_ms": site.clock.now_ms(),
            "ordinal": 1,
            "body": {"text": "hello"},
            "sender": "alice",
            "device": "phone",
            "client_id": "c1",
            "reply_to": 1,
            "mentions": ["bob"],
        }
    ]


async def test_sent_again_it_is_stored_once_and_answered_the_same(site: Site) -> None:
    await site.group()
    first = await site.say(ALICE, "team", "hello", client_id="c1")
    again = await site.say(ALICE, "team", "hello", client_id="c1")
    by_key = await site.post("/conversations/team/entries", ALICE, {"body": {"text": "hello"}}, key="c1")
    assert again.body == by_key.body == first.body | {"duplicate": True}
    assert await texts(site) == ["hello"]


async def test_the_same_name_with_another_body_is_a_conflict(site: Site) -> None:
    await site.group()
    await site.say(ALICE, "team", "hello", client_id="c1")
    reply = await site.say(ALICE, "team", "good bye", client_id="c1")
    assert (reply.status, reply.code) == (409, "conflict")


async def test_without_a_name_each_send_is_another(site: Site) -> None:
    await site.group()
    for _ in range(2):
        await site.say(ALICE, "team", "hello")
    assert await texts(site) == ["hello", "hello"]


async def test_two_names_that_differ_are_refused(site: Site) -> None:
    await site.group()
    reply = await site.post("/conversations/team/entries", ALICE, {"body": {}, "client_id": "a"}, key="b")
    assert reply.code == "invalid_request"


async def test_a_name_belongs_to_its_sender_and_device(site: Site) -> None:
    """No user can take the name of a back end's send, nor of another device's."""
    await site.group("bob")
    phone, laptop = user("alice", device="phone"), user("alice", device="laptop")
    for caller, text, more in (
        (phone, "phone", {}),
        (laptop, "laptop", {}),
        (BOB, "bob", {}),
        (ACME, "app", {}),
        (ACME, "app as alice", {"sender": "alice"}),
    ):
        assert (await site.say(caller, "team", text, client_id="c", **more)).status == 200
    assert await texts(site) == ["phone", "laptop", "bob", "app", "app as alice"]


async def test_the_back_end_sends_as_anyone_or_as_the_app(site: Site) -> None:
    await site.group("bob")
    await site.say(ACME, "team", "as bob", sender="bob")
    await site.say(ACME, "team", "as the app")
    found = await site.get("/conversations/team/entries?after=1", ALICE)
    assert [entry.get("sender", "") for entry in found.body["entries"]] == ["bob", ""]


async def test_users_send_only_as_themselves_and_only_where_they_are_members(site: Site) -> None:
    await site.group("bob")
    assert (await site.say(BOB, "team", "hi", sender="alice")).code == "not_allowed"
    assert (await site.say(BOB, "team", "hi", sender="bob")).status == 200
    for conv in ("team", "nothing"):
        reply = await site.say(MALLORY, conv, "hi")
        assert (reply.status, reply.code) == (404, "not_member")
    assert (await site.say(ACME, "nothing", "hi")).code == "not_found"


async def test_readers_of_a_channel_do_not_send(site: Site) -> None:
    await site.post("/conversations", ALICE, {"kind": "channel", "conv": "news", "members": ["bob"]})
    assert (await site.say(BOB, "news", "hi")).code == "not_allowed"
    assert (await site.say(ALICE, "news", "hi")).status == 200


@pytest.mark.parametrize("kind", ["member.joined", "conversation.created", "", "x", "X.poll", "message "])
async def test_kinds_that_are_the_servers_are_not_sent(site: Site, kind: str) -> None:
    """P-7.8."""
    await site.group()
    for caller in (ALICE, ACME):
        reply = await site.say(caller, "team", "hi", kind=kind)
        assert (reply.status, reply.code) == (422, "unknown_kind")


async def test_custom_kinds_are_sent_and_do_not_count_as_unread(site: Site) -> None:
    await site.group("bob")
    sent = await site.say(ALICE, "team", "?", kind="x.poll")
    assert (sent.status, sent.body["ordinal"]) == (200, 0)


async def test_nobody_writes_account_logs(site: Site) -> None:
    await site.group("bob")
    for caller in (ALICE, BOB, ACME):
        assert (await site.say(caller, "~alice", "hi")).code == "not_allowed"


BODIES: dict[str, tuple[bytes, int, str]] = {
    "no object": (b'{"body":[]}', 422, "invalid_content"),
    "a text": (b'{"body":"x"}', 422, "invalid_content"),
    "NUL": (b'{"body":{"text":"\\u0000"}}', 422, "invalid_content"),
    "a lone surrogate": (b'{"body":{"text":"\\ud800 "}}', 400, "invalid_request"),
    "not UTF-8": (b'{"body":{"text":"\xff"}}', 422, "invalid_content"),
    "too deep": (b'{"body":{"a":' + b"[" * 17 + b"]" * 17 + b"}}", 422, "invalid_content"),
    "far too deep": (b'{"body":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", 400, "invalid_request"),
    "too large": (b'{"body":{"a":"' + b"x" * BODY_BYTES_MAX + b'"}}', 422, "invalid_content"),
    "none": (b"{}", 400, "invalid_request"),
    "half": (b'{"body":{"a":1}', 400, "invalid_request"),
    "a list": (b"[]", 400, "invalid_request"),
    "nothing": (b"", 400, "invalid_request"),
    "a field too many": (b'{"body":{},"to":"bob"}', 400, "invalid_request"),
    "a name too long": (b'{"body":{},"client_id":"' + b"x" * 65 + b'"}', 400, "invalid_request"),
    "a name with a line break": (b'{"body":{},"client_id":"a\\nb"}', 400, "invalid_request"),
    "a reply to nothing": (b'{"body":{},"reply_to":99}', 422, "invalid_content"),
    "a negative reply": (b'{"body":{},"reply_to":-1}', 400, "invalid_request"),
    "too many mentions": (
        b'{"body":{},"mentions":[' + b",".join([b'"u"'] * 51) + b"]}",
        400,
        "invalid_request",
    ),
    "a mention of nobody": (b'{"body":{},"mentions":["a\\u0000"]}', 400, "invalid_request"),
    "made before 1970": (b'{"body":{},"made_at":-1}', 400, "invalid_request"),
    "made tomorrow and later": (
        b'{"body":{},"made_at":%d}' % (1_700_000_000_000 + 90_000_000),
        422,
        "bad_time",
    ),
    "made long ago": (
        b'{"body":{},"made_at":%d}' % (1_700_000_000_000 - REPEAT_WINDOW_MS - 1),
        422,
        "too_old",
    ),
}


@pytest.mark.parametrize("name", BODIES)
async def test_what_cannot_be_kept_is_refused_and_not_kept(site: Site, name: str) -> None:
    """P-7.9, P-8.5, P-8.8."""
    await site.group()
    body, status, code = BODIES[name]
    reply = await site.ask("POST", "/conversations/team/entries", ALICE, body)
    assert (reply.status, reply.code) == (status, code), reply.body
    assert await texts(site) == []


# History ----------------------------------------------------------------------------------------------------------


async def test_history_is_read_in_both_directions(site: Site) -> None:
    await site.group()
    for n in range(5):
        await site.say(ALICE, "team", f"m{n}")
    assert await texts(site, "?after=1&limit=2") == ["m0", "m1"]
    assert await texts(site, "?before=6&limit=2") == ["m3", "m2"]
    assert await texts(site, "?limit=2") == ["m4", "m3"]
    whole = (await site.get("/conversations/team/entries?after=0", ALICE)).body
    assert (whole["head"], whole["first_seq"], whole["complete"]) == (6, 1, True)
    assert (await site.get("/conversations/team/entries?after=0&limit=3", ALICE)).body["complete"] is False


async def test_newcomers_see_from_their_coming_on_and_leavers_up_to_their_leaving(site: Site) -> None:
    await site.group()
    await site.say(ALICE, "team", "before bob")
    await site.post("/conversations/team/members", ALICE, {"users": ["bob"]})
    await site.say(ALICE, "team", "with bob")
    await site.ask("DELETE", "/conversations/team/members/bob", BOB)
    await site.say(ALICE, "team", "after bob")
    found = await site.get("/conversations/team/entries?after=0", BOB)
    assert [entry["body"].get("text", entry["kind"]) for entry in found.body["entries"]] == [
        "member.joined",
        "with bob",
        "member.left",
    ]


async def test_a_strangers_history_is_as_if_there_was_none(site: Site) -> None:
    await site.group("bob")
    stranger = await site.get("/conversations/team/entries", MALLORY)
    missing = await site.get("/conversations/nothing/entries", MALLORY)
    assert (stranger.status, stranger.body) == (404, missing.body)
    assert stranger.code == "not_member"


async def test_users_read_their_own_account_log_and_no_other(site: Site) -> None:
    """P-7.1."""
    await site.group("bob")
    assert (await site.get("/conversations/~alice/entries", ALICE)).status == 200
    assert (await site.get("/conversations/~alice/entries", BOB)).code == "not_member"


@pytest.mark.parametrize(
    "query",
    [
        "after=1&before=2",
        "limit=0",
        "limit=201",
        "after=-1",
        "after=x",
        f"after={2**53}",
        "before=1.5",
        "after=",
    ],
)
async def test_a_range_that_makes_no_sense_is_refused(site: Site, query: str) -> None:
    await site.group()
    assert (await site.get(f"/conversations/team/entries?{query}", ALICE)).code == "invalid_request"
