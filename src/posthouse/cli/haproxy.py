"""`posthouse haproxy config`: a configuration of HAProxy for the cluster, complete and commented."""

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.operator import Operator, resolve
from posthouse.cli.output import pass_output
from posthouse.cli.trust import ca_option

if TYPE_CHECKING:
    from posthouse.cli.output import Output
    from posthouse.cluster.haproxy import Server

_NODE = re.compile(r"([A-Za-z0-9_.-]{1,64})=(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})(?:/(\d{1,5}))?")


@click.group(short_help="HAProxy in front of the cluster.")
def haproxy() -> None:
    """HAProxy in front of the cluster."""


@haproxy.command
@click.option(
    "--node",
    "--nodes",
    "given",
    metavar="NAME=HOST:PORT[/AGENT]",
    multiple=True,
    help="A node, and the port of its agent; may be repeated, or several in one with commas.  "
    "[default: those of the running cluster]",
)
@click.option(
    "--bind", default=":8080", show_default=True, help="What to listen on, as HAProxy's `bind` takes it."
)
@click.option(
    "--balance",
    type=click.Choice(["leastconn", "random(2)"]),
    default="leastconn",
    show_default=True,
    help="How a node is chosen; random(2) where several HAProxies stand side by side.",
)
@click.option("--socket", default="/run/haproxy/posthouse.sock", show_default=True, help="The stats socket.")
@click.option("--address", default="", envvar="POSTHOUSE_ADDRESS", help="Any node of the cluster.")
@click.option("--key", default="", envvar="POSTHOUSE_KEY", help="The operator's key.")
@click.option("--data", metavar="FOLDER", help="A node's data folder.")
@click.option("--config", "config_file", metavar="FILE", help="A node's configuration file.")
@ca_option
@pass_output
def config(
    output: "Output",
    given: tuple[str, ...],
    bind: str,
    balance: str,
    socket: str,
    address: str,
    key: str,
    data: str | None,
    config_file: str | None,
    ca: str,
) -> None:
    """Write a configuration of HAProxy to standard output.

    \b
      posthouse haproxy config > /etc/haproxy/haproxy.cfg
      haproxy -c -f /etc/haproxy/haproxy.cfg && systemctl reload haproxy
    """
    import msgspec

    from posthouse.cluster.haproxy import HaproxyPlan, render

    parts = [part for each in given for part in each.split(",")]
    servers = list(map(_server, parts)) or _running(resolve(address, key, data, config_file, ca))
    plan = msgspec.convert(
        {"servers": tuple(servers), "bind": bind, "balance": balance, "stats_socket": socket}, HaproxyPlan
    )
    text = render(plan)
    output.emit({"config": text}, text.rstrip())


def _server(text: str) -> "Server":
    from posthouse.cluster.haproxy import Server

    match = _NODE.fullmatch(text.strip())
    if match is None:
        raise Failure(f"{text!r} names no node.", "Write it as n1=10.0.0.1:8080/9101.", Exit.USAGE)
    name, host, port, agent = match.groups()
    return Server(name, host.strip("[]"), int(port), int(agent or 0))


def _running(operator: Operator) -> "list[Server]":
    """The nodes of the running cluster, as they say that they are reached."""
    from posthouse.api.operating import Nodes
    from posthouse.cluster.haproxy import Server

    servers = []
    for node in operator.get("nodes", Nodes).nodes:
        parts = urlsplit(node.api_url)
        if node.presence != "gone" and parts.hostname:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            tls = parts.scheme == "https"
            servers.append(Server(node.node, parts.hostname, port, node.agent_port, tls))
    if not servers:
        raise Failure("No node says where it is reached.", "Set node.address, or give --node.")
    return servers
