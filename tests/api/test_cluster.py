"""What operators ask of the cluster: with their own key only, and with a reason for every answer."""

import pytest

from tests.api.site import ACME, ALICE, NOBODY, OPERATOR, Caller, Site


@pytest.mark.parametrize("caller", [NOBODY, ALICE, ACME, Caller({"X-Operator-Key": "pho_guessed"})])
async def test_only_operators_may(site: Site, caller: Caller) -> None:
    for reply in (
        await site.get("/cluster/nodes", caller),
        await site.post("/cluster/drain", caller, {"node": "a"}),
        await site.post("/cluster/rebalance", caller, {}),
        await site.get("/cluster/events", caller),
    ):
        assert (reply.status, reply.code) == (401, "unauthorized")
    assert site.cluster.told == []


async def test_an_operator_s_key_opens_nothing_of_an_app(site: Site) -> None:
    reply = await site.get("/conversations/team", OPERATOR)
    assert reply.status == 401


async def test_every_node_is_shown(site: Site) -> None:
    reply = await site.get("/cluster/nodes", OPERATOR)
    assert [node["node"] for node in reply.body["nodes"]] == ["a", "b", "c"]


async def test_a_node_is_told_to_drain_and_to_serve_again(site: Site) -> None:
    drained = await site.post("/cluster/drain", OPERATOR, {"node": "a", "within_s": 5})
    undone = await site.post("/cluster/drain", OPERATOR, {"node": "a", "undo": True})
    assert (drained.status, drained.body["reason"], undone.status) == (200, "a drains", 200)
    assert site.cluster.told == [("a", 5.0, False), ("a", 60.0, True)]


async def test_a_node_that_nobody_knows_or_that_cannot_be_spared_is_refused(site: Site) -> None:
    unknown = await site.post("/cluster/drain", OPERATOR, {"node": "nobody"})
    needed = await site.post("/cluster/drain", OPERATOR, {"node": "c"})
    assert (unknown.status, needed.status) == (404, 409)
    assert needed.body["reason"] == "no other node could take its sessions"


@pytest.mark.parametrize("body", [{}, {"node": ""}, {"node": "a", "within_s": -1}, {"node": "a", "how": 1}])
async def test_what_makes_no_sense_is_refused(site: Site, body: object) -> None:
    assert (await site.post("/cluster/drain", OPERATOR, body)).status == 400


async def test_rebalancing_may_be_tried_dry(site: Site) -> None:
    reply = await site.post("/cluster/rebalance", OPERATOR, {"dry_run": True})
    assert reply.body == {"dry_run": True, "moves": [{"node": "a", "sessions": 3, "reason": "a sheds"}]}
    assert site.cluster.told == [("rebalance", True)]


async def test_events_are_told_with_their_reasons(site: Site) -> None:
    reply = await site.get("/cluster/events?limit=5&kind=drain&subject=b", OPERATOR)
    (event,) = reply.body["events"]
    assert (event["kind"], event["subject"], event["why"], event["dry_run"]) == (
        "drain",
        "b",
        "b drains",
        True,
    )
    assert site.cluster.told == [("events", 5, "drain", "b")]
    assert (await site.get("/cluster/events?limit=0", OPERATOR)).status == 400
