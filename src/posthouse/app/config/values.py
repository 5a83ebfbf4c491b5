"""Every value that can be configured, one struct a room. What a value brings about is said once, here, beside it.

The sample file, `config show` and every error message are made from these types.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from posthouse.app.config.limits import Limits
from posthouse.app.config.terms import (
    MASKED,
    URL,
    Count,
    Hash,
    Policy,
    Rate,
    Room,
    Seconds,
    Share,
    form,
    says,
)

__all__ = [
    "Agent", "Api", "App", "Auth", "Balance", "Bus", "Cache", "Canary", "Config", "Data", "Database",
    "Drain", "Key", "Limits", "Listen", "Log", "Node", "Operator", "Rebalance", "Remedies", "Room",
    "Tls", "Workers",
]  # fmt: skip


class Listen(Room, frozen=True, kw_only=True):
    """Where clients and back ends reach this node: one port for WebSocket and HTTP."""

    host: Annotated[
        str,
        says("""The address to listen on. The default is reached from this machine only; 0.0.0.0 (or :: for IPv6 as
            well) is reached from everywhere: then set [tls], or put TLS in front."""),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Meta(ge=0, le=65535),
        says("0 takes any free port, and the log says which one it was."),
    ] = 8080
    direct_port: Annotated[
        int,
        Meta(ge=0, le=65535),
        says("""A second port, of this node alone, where several share the first one. 0: none. Workers get theirs from
            `posthouse up --workers`: the port after listen.port for the first, and so on."""),
    ] = 0
    public_url: Annotated[
        str,
        form(r"^(https?://[^/\s]+/?)?\Z", "http:// or https:// and a host"),
        says("""The URL under which clients outside reach this node and no other, such as https://n1.chat.example.com.
            It is what /v1/endpoints tells them. Of workers each is told with its own port. Empty: the address at which
            the other nodes reach it, or with front_url nothing: clients then go through the balancer."""),
    ] = ""
    front_url: Annotated[
        str,
        form(r"^(https?://[^/\s]+/?)?\Z", "http:// or https:// and a host"),
        says("""The URL of a load balancer in front of all nodes, such as https://chat.example.com. Clients are told
            it as the last resort, for when none of the nodes' own URLs can be reached, and it is where sessions are
            sent to change nodes that have no public_url."""),
    ] = ""
    allowed_origins: Annotated[
        tuple[str, ...],
        says("""Web pages that may talk to this node from a browser, such as ["https://app.example.com"]. "*" allows
            all: tokens, not cookies, say who is calling, so no page can use another's session."""),
    ] = ("*",)


class Tls(Room, frozen=True, kw_only=True):
    """TLS at listen.port, ended by this process: WebSocket and HTTP are then wss:// and https:// only. New files are
    taken within seconds, or on SIGHUP, and cut nobody off; ones that cannot be used are refused and the old ones
    kept."""

    certificate: Annotated[
        str,
        says("""A file in PEM: this node's certificate, and after it those that lead to its authority. Empty: no TLS
            here."""),
    ] = ""
    key: Annotated[
        str,
        says("""A file in PEM: the certificate's private key, without a password. It must not be readable by everybody
            on the machine (chmod o= FILE)."""),
    ] = ""
    ca: Annotated[
        str,
        says("""A file in PEM: the authorities that vouch for the other nodes, whose health this one looks at. Empty:
            the system's."""),
    ] = ""


class Data(Room, frozen=True, kw_only=True):
    """The folder for what this node keeps: generated secrets, and the database when it is SQLite."""

    folder: Annotated[
        str,
        Meta(min_length=1),
        says("""Made if it is missing. Losing it loses the messages (with SQLite) and the generated keys: back it
            up."""),
    ] = "./posthouse-data"


class Database(Room, frozen=True, kw_only=True):
    """The system of record. Nothing is acknowledged before it has committed."""

    url: Annotated[
        str,
        form(r"^(sqlite|postgres(ql)?://\S+)\Z", "sqlite or postgresql://…"),
        URL,
        says(""""sqlite" keeps one file in the data folder; "postgresql://user:password@host/name" uses a server,
            which several nodes can share. Name all hosts of a primary and its replicas (host1,host2,host3): the
            primary is found, after a failover too, and long reads go to the replicas."""),
    ] = "sqlite"
    replicas: Annotated[
        str,
        form(r"^(postgres(ql)?://\S+)?\Z", "postgresql://…"),
        URL,
        says("""More replicas to read from, beside those that url names, such as a service's reader addresses. They
            must replicate the same primary. A replica that is behind or silent is passed over."""),
    ] = ""
    replica_policy: Annotated[
        Policy,
        says("Which replica is asked. Load is what this node has in flight there."),
    ] = "two-choices"
    connections_max: Annotated[
        Count,
        says(
            """Connections to PostgreSQL from this node. More help reading, not writing: commits go in groups."""
        ),
    ] = 10


class Auth(Room, frozen=True, kw_only=True):
    """Who is calling. Keys of apps are in [apps.NAME]."""

    token_ttl_s: Annotated[
        Count,
        says("How long a token from POST /v1/tokens lives when the request does not say."),
    ] = 3_600
    token_ttl_s_max: Annotated[
        Count,
        says("""The longest life of any token, also of those that apps sign themselves: one that expires later is
            refused. A stolen token works as long as it lives."""),
    ] = 86_400
    resume_ttl_s: Annotated[
        Count,
        says("""How long a client may be away and still resume. After that it fetches its conversation list
            afresh."""),
    ] = 604_800
    resume_secret: Annotated[
        str,
        MASKED,
        says("""Signs resume tokens; at least 32 bytes. Empty: generated into the data folder. Nodes that share a
            database must share it too, or clients that change nodes cannot resume."""),
    ] = ""


class Api(Room, frozen=True, kw_only=True):
    """The REST API under /v1."""

    request_bytes_max: Annotated[Count, says("The body of one request. Beyond: answered 413.")] = 1_048_576
    request_timeout_ms: Annotated[
        Count,
        says("For the body of a request to come in. Beyond: answered 408."),
    ] = 15_000
    requests_per_app_per_s: Annotated[
        Rate,
        says("Requests of one app's back end, over all its API keys. Beyond: answered 429 with Retry-After."),
    ] = 2_000.0
    requests_per_app_burst: Annotated[
        Rate,
        says("How many may come at once on top of requests_per_app_per_s."),
    ] = 4_000.0
    requests_per_user_per_s: Annotated[
        Rate,
        says("Requests of one user. Beyond: answered 429 with Retry-After."),
    ] = 20.0
    requests_per_user_burst: Annotated[
        Rate,
        says("How many may come at once on top of requests_per_user_per_s."),
    ] = 100.0
    users_edit_profile: Annotated[
        bool,
        says("""Users may set their own name and avatar. false: only the app's back end may, so that names can be
            trusted to be those it knows."""),
    ] = True
    users_create_conversations: Annotated[
        bool,
        says("""Users may begin conversations, and add others to those that they own or manage. false: only the app's
            back end may, so that nobody is drawn into a conversation that the app has not seen to."""),
    ] = True
    endpoints_ttl_s: Annotated[
        Count,
        says("""How long a client may use the list from /v1/endpoints before it asks again. 30 s at most while one of
            several nodes takes all clients."""),
    ] = 300


class Log(Room, frozen=True, kw_only=True):
    """One line of JSON an event, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        says('"debug" says more than a busy node should write.'),
    ] = "info"


class Cache(Room, frozen=True, kw_only=True):
    """What nodes share for a while: which of them has recipients for what, who is alive, who does what must be done by
    one. Losing all of it loses no message."""

    url: Annotated[
        str,
        form(
            r"^(memory|(redis|valkey)s?(\+(sentinel|cluster))?://\S+)\Z",
            "memory, redis://host:6379/0, redis+sentinel://host:26379,host:26379/NAME or "
            "redis+cluster://host:6379,host:6379",
        ),
        URL,
        says(""""memory" suits a single node. Several nodes need one Redis (7.0 or newer) or Valkey that all of them
            name: redis://user:password@host:6379/0 for one server; redis+sentinel://host:26379,host:26379/NAME for the
            primary that Sentinels watch under that name; redis+cluster://host:6379,host:6379 for a Cluster. rediss://
            is TLS, with ?ca=FILE&cert=FILE&key=FILE where needed, or &verify=no; Sentinels that ask for a password get
            ?sentinel-user= and ?sentinel-password=. While it is away, messages still flow, more slowly. Do not let it
            evict keys of its own choice (maxmemory-policy noeviction)."""),
    ] = "memory"
    prefix: Annotated[
        str,
        form(r"^[A-Za-z0-9_.-]{1,32}\Z", "1 to 32 letters, digits, dots, dashes and underscores"),
        says("""Begins every key and channel. Clusters that share a Redis each need one of their own, or they hear each
            other."""),
    ] = "ph"
    answer_timeout_ms: Annotated[
        Count,
        says("""A server that answers nothing for so long is taken for dead: until it is linked to again, nobody waits
            for it. Too low: a busy server is given up for a moment again and again."""),
    ] = 250


class Bus(Room, frozen=True, kw_only=True):
    """How nodes tell each other of new entries. Lossy by design: what is lost is read from the database a little
    later."""

    url: Annotated[
        str,
        form(
            r"^((memory|(redis|valkey)s?(\+(sentinel|cluster))?://\S+)?)\Z",
            "that of cache.url, or empty",
        ),
        URL,
        says(
            """As cache.url, for busy clusters that give the bus servers of its own. Empty: those of the cache."""
        ),
    ] = ""


class Node(Room, frozen=True, kw_only=True):
    """This server process among the others."""

    name: Annotated[
        str,
        form(r"^[A-Za-z0-9_.-]{0,64}\Z", "at most 64 letters, digits, dots, dashes and underscores"),
        says("Appears in logs, metrics and welcome frames. Empty: made of the host's name and the port."),
    ] = ""
    address: Annotated[
        str,
        form(
            r"^([A-Za-z0-9_.-]{0,253}|[0-9A-Fa-f.]*(:[0-9A-Fa-f.]*){2,8})\Z",
            "a host name or an IP address, without a port",
        ),
        says("""Where the other nodes and operators reach this one, such as 10.0.0.1; with TLS a name of its
            certificate. Empty: the host of listen.public_url, else listen.host; where that stands for all addresses,
            the one from which this machine reaches the outside, but with TLS none."""),
    ] = ""
    zone: Annotated[
        str,
        form(r"^[A-Za-z0-9_.-]{0,64}\Z", "at most 64 letters, digits, dots, dashes and underscores"),
        says("Where the machine stands, such as a rack or an availability zone. Shown to operators."),
    ] = ""
    weight: Annotated[
        float,
        Meta(ge=0, le=100),
        says(
            """Its size among the nodes: one of weight 2 gets twice the sessions. 0: no new ones, as if draining."""
        ),
    ] = 1.0
    network_bytes_per_s_max: Annotated[
        float,
        Meta(ge=0, le=1e12),
        says("""What the machine's network carries in each direction: load is the share of it that is used, where the
            network is scarcest. 0: the speed that the interface towards the outside tells. Virtual ones often tell
            none, or one that nobody is granted: then the share is 0, or too low, unless this is set."""),
    ] = 0.0


class Operator(Room, frozen=True, kw_only=True):
    """Who may operate the cluster: /v1/cluster and the commands that use it."""

    key_hashes: Annotated[
        tuple[Hash, ...],
        says("""SHA-256, in hexadecimal, of operators' keys, which begin with pho_: printf %s KEY | sha256sum. One
            key needs no mention here: it follows from auth.resume_secret, and commands beside the data folder
            find it by themselves."""),
    ] = ()
    details: Annotated[
        Literal["open", "key"],
        says("""Who may read /metrics, and in /readyz what is wrong with what: "open" is everybody who reaches the port,
            "key" whoever shows an operator's key (Authorization: Bearer pho_… or X-Operator-Key). They hold no user's
            data, but names and addresses of what the cluster stands on: choose "key" where strangers reach the node
            itself. The proxy that `posthouse haproxy config` writes keeps them inside."""),
    ] = "open"


class Balance(Room, frozen=True, kw_only=True):
    """Where new sessions go: what /v1/endpoints and drains tell clients. All policies are in docs/balancing.md."""

    policy: Annotated[
        Policy,
        says("""two-choices is nearly as even as the least loaded of all, and best where many nodes decide on reports
            that are a second old. dynamic-weights suits machines of different sizes that nobody has weighed."""),
    ] = "two-choices"
    by: Annotated[
        Literal["connections", "in-flight", "utilisation"],
        says("What counts as load for the policies that look at it."),
    ] = "connections"
    slow_start_s: Annotated[
        Seconds,
        says("A node that has just joined gets 10 % of its weight, and all of it after so long. 0: at once."),
    ] = 30.0
    stale_after_s: Annotated[
        Seconds,
        says("The load of a node that has not reported for so long counts as the average of the others."),
    ] = 5.0
    ejection: Annotated[
        bool,
        says("""Leave out a node whose answers are errors far more often than the others', for 30 s and longer each
            time. Never below five nodes."""),
    ] = True
    ejected_share_max: Annotated[
        Share, says("At most this share of the nodes is left out for errors at the same time.")
    ] = 0.1
    panic_below: Annotated[
        Share,
        says("""When less than this share of the nodes is healthy, health is ignored: the few would fall over too,
            or the probes are wrong."""),
    ] = 0.5


class Drain(Room, frozen=True, kw_only=True):
    """Taking a node out of service without a failed send. A node alone just stops: its clients have nowhere to go."""

    window_s: Annotated[
        Seconds,
        says("""On SIGTERM and Ctrl-C: over so long the sessions are sent to other nodes, evenly. 0: all at once, and
            they come back spread over two seconds. The orchestrator must wait longer before it kills."""),
    ] = 10.0
    gather_s: Annotated[
        Seconds,
        says("""Before the first session is sent away, so that nodes drained together know of each other and do not
            feed each other."""),
    ] = 1.5


class Rebalance(Room, frozen=True, kw_only=True):
    """Evening out sessions after a node has joined: each node sends away some of its own, slowly."""

    automatic: Annotated[bool, says("false: only when `posthouse rebalance` asks for it.")] = True
    above: Annotated[
        float,
        Meta(gt=1, le=10),
        says("A node begins when its sessions exceed its fair share so many times, and by one at least."),
    ] = 1.08
    until: Annotated[
        float,
        Meta(ge=1, le=10),
        says("It ends at so many times its fair share: going all the way would move sessions for nothing."),
    ] = 1.04
    share_per_s: Annotated[
        float,
        Meta(gt=0, le=1),
        says("""The share of its sessions that a node sends away in a second at most. Each costs one reconnect and
            resume."""),
    ] = 0.0075
    again_after_s: Annotated[
        Seconds, says("A session that was moved is not moved again before it is so old.")
    ] = 600.0


class Agent(Room, frozen=True, kw_only=True):
    """What HAProxy's agent-check is told, on a TCP port of its own: the node's weight now, or that it drains."""

    port: Annotated[
        int, Meta(ge=0, le=65535), says("0: no agent. `posthouse haproxy config` writes it into the file.")
    ] = 0
    host: Annotated[
        str, says("The address to listen on. Empty: that of [listen]. It answers anybody; keep it inside.")
    ] = ""


class Canary(Room, frozen=True, kw_only=True):
    """A message that travels the real path, through the node's own port, to find out whether the node delivers. A node
    that does not is not ready. Its app is `~canary`; its log is cut back to a hundred entries."""

    interval_s: Annotated[
        Seconds,
        says("""Between two messages, for each database: one small commit each. 0: none, and a node that commits but
            delivers nothing counts as ready."""),
    ] = 5.0
    timeout_s: Annotated[
        float,
        Meta(gt=0, le=60),
        says("A message that takes longer was not delivered. Two in a row make the node unready."),
    ] = 4.0


class Remedies(Room, frozen=True, kw_only=True):
    """What a node does about itself when it is overloaded or sick: refuse new sessions, move some, drain, restart. Each
    is told in `posthouse events`. One node of the cluster at a time, and none when most are in trouble."""

    mode: Annotated[
        Literal["dry-run", "act"],
        says(""""dry-run" only tells what it would move, drain or restart. New sessions are refused on overload in
            either mode."""),
    ] = "dry-run"
    shed_above: Annotated[
        float,
        Meta(gt=0, le=10),
        says("""From here on new sessions are refused with a time to come back, after five seconds: the share of the
            memory that is taken, or the event loop's lag in seconds. A busy CPU alone is no overload."""),
    ] = 0.95
    drain_after_s: Annotated[
        Seconds,
        says("So long a node must have been unready for reasons of its own before it is drained."),
    ] = 30.0
    restart_after_s: Annotated[
        Seconds,
        says("So long after draining has not helped, a worker ends itself to be started again."),
    ] = 120.0
    per_hour: Annotated[
        float,
        Meta(gt=0, le=3_600),
        says("Moves, drains and restarts of one node, on average. Two may come at once."),
    ] = 6.0


class Workers(Room, frozen=True, kw_only=True):
    """Several processes on one machine under a supervisor, each a node of its own: one for each core. They share
    listen.port, and need a PostgreSQL and a cache that they share."""

    count: Annotated[
        int,
        Meta(ge=0, le=512),
        says("""0: one process without a supervisor. 1: one process that is started again when it ends or hangs. The
            flag --workers wins over it."""),
    ] = 0
    hung_after_s: Annotated[
        float,
        Meta(ge=2, le=3_600),
        says("A worker whose event loop has not turned for so long is killed and started again."),
    ] = 10.0
    start_timeout_s: Annotated[
        float,
        Meta(ge=1, le=3_600),
        says("A worker that is not ready after so long is killed and started again, ever more seldom."),
    ] = 60.0
    stop_timeout_s: Annotated[
        float,
        Meta(ge=1, le=3_600),
        says("""A worker that has not ended so long after it was asked to is killed. Longer than drain.window_s, and
            shorter than the orchestrator waits."""),
    ] = 60.0
    stop: Annotated[
        Literal["together", "in-turn"],
        says("""How workers end on SIGTERM. "in-turn": clients move to the next worker each time, and it takes so many
            times longer. SIGHUP always restarts them in turn."""),
    ] = "together"


class Key(Room, frozen=True, kw_only=True):
    """A key that signs an app's tokens, named by `kid` in their header."""

    kid: Annotated[str, Meta(min_length=1, max_length=64), says("The name by which tokens call it.")]
    alg: Annotated[
        Literal["HS256", "EdDSA"],
        says("""HS256: a secret that the app's back end shares. EdDSA: only the app can sign, this server
            verifies."""),
    ]
    secret: Annotated[str, MASKED, says("For HS256: at least 32 bytes, used as the text it is.")] = ""
    public_key: Annotated[str, says("For EdDSA: an Ed25519 key in PEM, or its 32 bytes in base64url.")] = ""
    private_key: Annotated[
        str,
        MASKED,
        says("For EdDSA, in PEM: only when POST /v1/tokens is to issue tokens with it."),
    ] = ""
    retired: Annotated[
        bool,
        says("""Signs no new tokens; those it signed hold until they expire. To rotate: add a key, retire the old
            one, and remove it once token_ttl_s_max has passed. Remove it at once if it was stolen."""),
    ] = False


class App(Room, frozen=True, kw_only=True):
    """A tenant: its users, conversations, keys and limits are its own; no key or token of one opens another."""

    api_key_hashes: Annotated[
        tuple[Hash, ...],
        says("SHA-256, in hexadecimal, of the API keys of its back end: printf %s KEY | sha256sum."),
    ] = ()
    keys: Annotated[
        tuple[Key, ...],
        says("Keys that sign its users' tokens; the last one that is not retired signs new ones."),
    ] = ()


class Config(Room, frozen=True, kw_only=True):
    """The whole configuration of a node."""

    listen: Listen = Listen()
    tls: Tls = Tls()
    data: Data = Data()
    database: Database = Database()
    cache: Cache = Cache()
    bus: Bus = Bus()
    limits: Limits = Limits()
    auth: Auth = Auth()
    api: Api = Api()
    log: Log = Log()
    node: Node = Node()
    operator: Operator = Operator()
    balance: Balance = Balance()
    drain: Drain = Drain()
    rebalance: Rebalance = Rebalance()
    agent: Agent = Agent()
    canary: Canary = Canary()
    remedies: Remedies = Remedies()
    workers: Workers = Workers()
    databases: Annotated[
        dict[str, Database],
        says("""Several databases that share the conversations, each under a name that stays: the shards lie in them by
            that name. All are PostgreSQL, and [database] is not used then. Name one that was [database] until now
            `main`: it keeps what it has, and `posthouse shards move` gives the others their part. All nodes name the
            same ones."""),
    ] = msgspec.field(default_factory=dict)
    apps: Annotated[
        dict[str, App],
        says("Without any, an app named `default` is made, with keys generated into the data folder."),
    ] = msgspec.field(default_factory=dict)
