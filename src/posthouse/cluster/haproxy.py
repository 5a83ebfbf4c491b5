"""Renders a complete configuration of HAProxy for a cluster's nodes, with the reason beside each setting. Pure.

HAProxy finds out by itself who is healthy (/readyz) and is told by each node's agent how much it can take and when it
drains, so the file changes only when nodes come or go.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

CHECK_INTERVAL_S, RISE, FALL = 2, 2, 3
Balance = Literal["leastconn", "random(2)"]

_FILE = """\
# HAProxy (2.4 or newer) in front of a Posthouse cluster. Rendered by `posthouse haproxy config`: render it again when
# nodes come or go, check it with `haproxy -c -f FILE`, and reload (`systemctl reload haproxy`), which cuts nobody off.
#
# HAProxy is a convenience here, not a need: clients learn the nodes' own addresses from /v1/endpoints and go to another
# node by themselves. So losing it cuts off for a moment those who came through it, and they come back directly.

global
    log stdout format raw local0 notice
    maxconn {maxconn}
    # `echo "show servers state" | socat {socket} stdio` shows what it thinks of the nodes.
    stats socket {socket} mode 600 level admin
    # A reload keeps the old process for the sessions it holds, at most so long.
    hard-stop-after 30m
    # ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode http
    log global
    option httplog
    option dontlognull
    option forwardfor
    # A request that no node has taken yet may go to another one.
    option redispatch
    retries 2
    timeout connect 2s
    timeout check 1s
    timeout queue 5s
    timeout http-request 10s
    timeout http-keep-alive 75s
    timeout client 60s
    timeout server 60s
    # A WebSocket. The longest heartbeat a client may choose is 300 s, and a node waits for two: whatever is silent for
    # longer is dead, and nothing that lives is cut.
    timeout tunnel 11m
    timeout client-fin 10s

frontend posthouse
    bind {bind}
{tls}    # What nodes count is nobody's business outside.
    http-request deny deny_status 404 if {{ path /metrics }}
    # Long-lived sessions come in bursts when something breaks: refuse beyond maxconn instead of queueing for minutes.
    default_backend posthouse_nodes

backend posthouse_nodes
{balance}
    # A node that cannot deliver is not ready (it sends a message to itself, end to end): it then gets nobody new.
    option httpchk
    # A draining one answers 404 here, which to HAProxy means: nobody new, but leave those alone who are there.
    http-check send meth GET uri /readyz?draining=404 ver HTTP/1.1 hdr Host posthouse
    http-check expect status 200
    http-check disable-on-404
    # Out after {fall} failures, looked at more often from the first one on; in again after {rise} successes. The
    # sessions of a node that is down are cut at once: their clients need not find out by a missed heartbeat.
    default-server check inter {inter}s fastinter 500ms rise {rise} fall {fall} on-marked-down shutdown-sessions
    # Every {inter} s each node's agent says its weight in percent of this one, `drain` (nobody new; those who are there
    # stay until they are told where to go) or `maint`. All stand here with the same weight: they know their own sizes.
    # A name that cannot be resolved leaves its node out until a reload, and does not keep HAProxy from starting.
    default-server init-addr last,libc,none
    default-server weight 100 agent-inter {inter}s maxconn {server_maxconn}
{servers}
"""

_LEASTCONN = """\
    # Sessions last for hours, so what counts is how many a node has. With several balancers side by side, which do not
    # know of each other's sessions, `random(2)` herds less.
    balance leastconn"""
_RANDOM = """\
    # Two nodes by chance, and of these the one with fewer sessions: nearly as even as `leastconn`, and several
    # balancers side by side do not all run to the same node.
    balance random(2)"""
_WITHOUT_TLS = """\
    # TLS: put certificate, chain and key into one file, and say (browsers and phones should never come without):
    # bind :443 ssl crt /etc/haproxy/posthouse.pem alpn http/1.1
    # http-request redirect scheme https unless { ssl_fc }
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
"""
_WITH_TLS = """\
    # Its file holds certificate, chain and key. For browsers that come without TLS add `bind :80`: they are sent here.
    http-request redirect scheme https unless { ssl_fc }
    http-request set-header X-Forwarded-Proto https
"""
_SERVER_TLS = (
    " ssl verify required verifyhost {host} ca-file /etc/ssl/certs/ca-certificates.crt alpn http/1.1"
)
"""Towards a node that ends TLS itself: never without asking whose certificate it is."""


class Server(msgspec.Struct, frozen=True):
    """A node as HAProxy reaches it. `agent_port` 0: it has no agent. `tls`: it ends TLS itself."""

    name: str
    host: str
    port: int
    agent_port: int = 0
    tls: bool = False


class HaproxyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the file is made of. `bind` is what `bind` is given, such as `:443 ssl crt FILE alpn http/1.1`."""

    servers: tuple[Server, ...]
    bind: str = ":8080"
    balance: Balance = "leastconn"
    stats_socket: str = "/run/haproxy/posthouse.sock"
    server_maxconn: int = 15_000
    """As `limits.connections_max` of the nodes."""


def render(plan: HaproxyPlan) -> str:
    """The whole file."""
    return _FILE.format(
        maxconn=max(1, len(plan.servers)) * plan.server_maxconn + 1_000,
        socket=plan.stats_socket,
        bind=plan.bind,
        tls=_WITH_TLS if " ssl " in f"{plan.bind} " else _WITHOUT_TLS,
        balance=_LEASTCONN if plan.balance == "leastconn" else _RANDOM,
        rise=RISE,
        fall=FALL,
        inter=CHECK_INTERVAL_S,
        server_maxconn=plan.server_maxconn,
        servers=_servers(plan.servers),
    )


def _servers(servers: Sequence[Server]) -> str:
    if not servers:
        return "    # No node was known. One a line:\n    # server NAME HOST:PORT agent-check agent-port PORT"
    return "\n".join(map(_server, servers))


def _server(server: Server) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    agent = f" agent-check agent-port {server.agent_port}" if server.agent_port else ""
    tls = _SERVER_TLS.format(host=server.host) if server.tls else ""
    return f"    server {server.name} {host}:{server.port}{tls}{agent}"
