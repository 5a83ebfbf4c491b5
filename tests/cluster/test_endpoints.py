"""From the cluster's picture to what balancing decides on, and back to addresses."""

from posthouse.balance.report import LoadReport, snapshot_of as balance_snapshot
from posthouse.cluster.endpoints import endpoint, loads, others, socket_url
from posthouse.cluster.snapshot import ClusterSnapshot, NodeReport, NodeView, Presence

NOW = 100.0


def view(node: str, presence: Presence = Presence.LIVE, **fields: object) -> NodeView:
    report = NodeReport(node=node, incarnation=1, load=LoadReport(node), up_s=50.0, **fields)  # type: ignore[arg-type]
    return NodeView(report, NOW - 0.5, presence, "because")


def picture(*views: NodeView) -> ClusterSnapshot:
    return ClusterSnapshot(NOW, True, views, "why")


def test_a_node_s_url_becomes_that_of_its_sockets() -> None:
    assert socket_url("https://a.example/") == "wss://a.example/v1/ws"
    assert socket_url("ws://10.0.0.1:8080") == "ws://10.0.0.1:8080/v1/ws"
    assert socket_url("") == ""


def test_who_is_unknown_or_does_not_say_where_it_is_has_no_endpoint() -> None:
    here = picture(view("a", clients_url="ws://a"), view("b"))
    assert [endpoint(here, node) for node in ("a", "b", "c", None)] == ["ws://a/v1/ws", "", "", ""]


def test_a_node_in_doubt_gets_no_new_clients_and_one_that_is_gone_is_not_there() -> None:
    here = picture(view("a"), view("b", Presence.SILENT), view("c", Presence.GONE))
    targets = balance_snapshot(loads(here), NOW).targets
    assert [(each.id, each.out) for each in targets] == [("a", ""), ("b", "unhealthy")]


def test_others_are_those_that_take_clients() -> None:
    here = picture(
        view("me"),
        view("b", draining=True),
        view("c", ready=False),
        view("d", Presence.SILENT),
        view("e"),
    )
    assert [each.node for each in others(here, "me")] == ["e"]
