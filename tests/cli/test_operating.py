"""Operators' commands: against a real node of this folder, and against what a cluster of several would answer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from posthouse.api.operating import Drained, Move, Nodes, NodeStatus
from posthouse.cli.failure import Exit
from posthouse.testing.servers import LocalServer
from tests.api.site import node_status
from tests.cli.running import run

KEY = ("--key", "pho_any")


@pytest.fixture(scope="module")
def node() -> Iterator[LocalServer]:
    with LocalServer(settings={"node.name": "n1"}) as server:
        yield server


@pytest.fixture
def here(node: LocalServer) -> tuple[str, ...]:
    """What a command is told that does not run in the node's folder."""
    return ("--data", str(node.data), "--address", node.url)


class Cluster:
    """Answers as a node of a cluster would. `nodes` is what the next question about them gets; the last one stays."""

    def __init__(self) -> None:
        self.nodes: list[list[NodeStatus]] = [[]]
        self.asked: list[tuple[str, Any]] = []

    def answer(self, path: str, body: Any) -> msgspec.Struct | dict[str, Any]:
        self.asked.append((path, body))
        if path.endswith("/nodes"):
            found = self.nodes.pop(0) if len(self.nodes) > 1 else self.nodes[0]
            return Nodes(asked="a", known=True, why="read", nodes=tuple(found))
        if path.endswith("/drain"):
            return Drained(node=body["node"], sessions=7, reason=f"{body['node']} sends its 7 sessions away")
        return {"dry_run": body["dry_run"], "moves": [Move(node="a", sessions=3, reason="a sheds: much")]}


@contextmanager
def answering(cluster: Cluster) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            answer = msgspec.json.encode(cluster.answer(self.path, body))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def like(name: str, **fields: Any) -> NodeStatus:
    return msgspec.structs.replace(node_status(name), **fields)


# A real node --------------------------------------------------------------------------------------------------------


def test_a_node_is_listed_with_its_load(here: tuple[str, ...]) -> None:
    shown = run("nodes", *here).stdout.splitlines()
    assert shown[0].split()[:3] == ["NODE", "STATE", "SESSIONS"]
    assert shown[1].split()[:3] == ["n1", "ready", "0"]


def test_a_program_reads_a_node_a_line(here: tuple[str, ...]) -> None:
    (line,) = run("nodes", "--json", *here).stdout.splitlines()
    read = json.loads(line)
    assert (read["node"], read["ready"], read["share"]) == ("n1", True, 1.0)


def test_the_only_node_cannot_be_drained(here: tuple[str, ...]) -> None:
    result = run("drain", "n1", *here)
    assert result.exit_code == Exit.FAILED
    assert "nowhere to go" in result.stderr


def test_a_node_that_nobody_knows_is_said_to_be_unknown(here: tuple[str, ...]) -> None:
    assert "No node is called 'n9'." in run("drain", "n9", *here).stderr


def test_a_wrong_key_opens_nothing(node: LocalServer) -> None:
    result = run("nodes", "--address", node.url, *KEY)
    assert (result.exit_code, "--key" in result.stderr) == (Exit.UNAUTHORIZED, True)


def test_a_configured_secret_makes_the_key(node: LocalServer, tmp_path: Path) -> None:
    environment = {"POSTHOUSE_AUTH_RESUME_SECRET": node.secrets.resume_secret}
    assert run("nodes", "--address", node.url, **environment).exit_code == Exit.OK


def test_without_a_key_it_says_where_to_find_one() -> None:
    result = run("nodes", "--data", "nowhere")
    assert (result.exit_code, "--key" in result.stderr) == (Exit.UNAUTHORIZED, True)


def test_where_nobody_listens_it_says_so() -> None:
    result = run("nodes", "--address", "http://127.0.0.1:9", *KEY)
    assert result.exit_code == Exit.UNREACHABLE


# A cluster ----------------------------------------------------------------------------------------------------------


def test_every_state_of_a_node_has_its_word() -> None:
    cluster = Cluster()
    cluster.nodes = [
        [
            like("a"),
            like("b", draining=True, ready=False),
            like("c", ready=False),
            like("d", presence="silent"),
            like("e", presence="gone"),
        ]
    ]
    with answering(cluster) as url:
        shown = run("nodes", "--address", url, *KEY).stdout.splitlines()[1:]
    words = [line.removeprefix(name).strip() for name, line in zip("abcde", shown, strict=True)]
    assert [word.split("  ")[0] for word in words] == ["ready", "draining", "not ready", "silent", "gone"]


def test_a_drain_that_is_waited_for_ends_when_no_session_is_left() -> None:
    cluster = Cluster()
    cluster.nodes = [
        [like("b", draining=True, sessions=7)],
        [like("b", draining=True, sessions=2)],
        [like("b", draining=True, sessions=0)],
    ]
    with answering(cluster) as url:
        result = run("drain", "b", "--within", "30s", "--wait", "--address", url, *KEY)
    assert result.stdout.splitlines() == ["b sends its 7 sessions away.", "No session is left on b."]
    assert cluster.asked[0] == ("/v1/cluster/drain", {"node": "b", "within_s": 30.0, "undo": False})


def test_a_drain_is_undone() -> None:
    cluster = Cluster()
    with answering(cluster) as url:
        run("drain", "b", "--undo", "--address", url, *KEY)
    assert cluster.asked[0][1]["undo"] is True


def test_rebalancing_may_be_tried_dry() -> None:
    cluster = Cluster()
    with answering(cluster) as url:
        result = run("rebalance", "--dry-run", "--address", url, *KEY)
    assert (result.stdout, result.stderr) == ("3 to move: a sheds: much.\n", "Nothing was moved.\n")
    assert cluster.asked == [("/v1/cluster/rebalance", {"dry_run": True})]


HAPROXY_TLS = (
    " ssl verify required verifyhost b.example ca-file /etc/ssl/certs/ca-certificates.crt alpn http/1.1"
)


def test_haproxy_s_configuration_is_made_for_the_running_nodes() -> None:
    cluster = Cluster()
    cluster.nodes = [
        [
            like("a", api_url="http://10.0.0.1:8080", agent_port=9101),
            like("b", api_url="https://b.example"),
            like("c", api_url="http://10.0.0.3:8080", presence="gone"),
        ]
    ]
    with answering(cluster) as url:
        text = run("haproxy", "config", "--address", url, *KEY).stdout
    servers = [line.strip() for line in text.splitlines() if line.strip().startswith("server ")]
    assert servers == [
        "server a 10.0.0.1:8080 agent-check agent-port 9101",
        "server b b.example:443" + HAPROXY_TLS,
    ]


def test_haproxy_s_configuration_is_made_for_given_nodes_without_asking_anybody() -> None:
    text = run(
        "haproxy", "config", "--nodes", "a=10.0.0.1:80/9101,b=[fd00::2]:81", "--balance", "random(2)"
    ).stdout
    assert "    server b [fd00::2]:81\n" in text
    assert "    balance random(2)\n" in text


@pytest.mark.parametrize("given", ["a", "a=b", "a=b:c", "a b=c:1"])
def test_what_names_no_node_is_refused(given: str) -> None:
    assert run("haproxy", "config", "--node", given).exit_code == Exit.USAGE
