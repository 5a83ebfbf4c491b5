"""TLS that a node ends itself: who is believed, what is refused, and how a certificate changes under connections."""

import asyncio
import json
import ssl
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from posthouse import Client
from posthouse.app.certificates import CertificateError
from posthouse.app.config import ConfigError, load
from posthouse.app.config.values import Canary, Limits, Tls
from posthouse.app.node import Node
from posthouse.cli.failure import Exit
from posthouse.client import NotConnected
from posthouse.gateway.connections import SocketLimits
from posthouse.health.reach import HttpReach
from posthouse.protocol import SUBPROTOCOL
from posthouse.protocol.codes import Code
from tests.gateway.peers import UPGRADE, client_frame, head, serving
from tests.security.authority import DAY, HOST, NOW, Authority, Pair
from tests.security.serving import PATIENCE_S, TlsServer, config, running, token, until


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.issue()


@pytest.fixture
async def node(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    monkeypatch.setattr("posthouse.app.certificates.LOOK_INTERVAL_S", 0.05)
    async with running(config(tmp_path / "data", tls=pair.tls, canary=Canary(interval_s=0.2))) as node:
        yield node


def url(node: Node) -> str:
    return f"https://{HOST}:{node.port}"


def client(node: Node, user: str, tls: ssl.SSLContext | Path | None) -> Client:
    return Client(url(node), token=token(user), tls=tls, connect_timeout_s=PATIENCE_S)


def events(node: Node) -> list[str]:
    return [event.why for event in node.parts.events.latest(kind="certificate")]


def counted(node: Node, name: str) -> int:
    assert node._listener is not None
    return node._listener.statistics()[name]


async def shown(port: int, tls: ssl.SSLContext) -> int:
    """The serial number of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection(HOST, port, ssl=tls)
    try:
        return int(writer.get_extra_info("peercert")["serialNumber"], 16)
    finally:
        writer.transport.abort()


# Speaking it ------------------------------------------------------------------------------------------------------


async def test_two_people_chat_over_tls_and_rest_with_the_authority_in_a_file(
    node: Node, authority: Authority
) -> None:
    async with client(node, "ann", authority.file) as ann, client(node, "ben", authority.file) as ben:
        sent = await (await ann.direct("ben")).send("private")
        await heard(ben, "private")
        assert sent.seq == 2


async def test_endpoints_are_named_as_wss_and_http_1_1_is_agreed_on(node: Node, authority: Authority) -> None:
    asked = f"{url(node)}/v1/endpoints"
    async with aiohttp.ClientSession() as http, http.get(asked, ssl=authority.client) as answer:
        (endpoint,) = (await answer.json())["endpoints"]
    assert endpoint["url"] == f"wss://{HOST}:{node.port}/v1/ws"
    offering = authority.client
    offering.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection(HOST, node.port, ssl=offering)
    secured = writer.get_extra_info("ssl_object")
    assert (secured.selected_alpn_protocol(), secured.version()) == ("http/1.1", "TLSv1.3")
    writer.transport.abort()


async def test_another_library_speaks_websocket_over_it(node: Node, authority: Authority) -> None:
    async with connect(
        f"wss://{HOST}:{node.port}/v1/ws", subprotocols=[Subprotocol(SUBPROTOCOL)], ssl=authority.client
    ) as socket:
        await socket.send(json.dumps({"t": "hello", "token": token("ann"), "device": "phone"}))
        assert json.loads(await socket.recv())["t"] == "welcome"


async def test_the_canary_and_the_probes_of_other_nodes_go_over_tls(node: Node, authority: Authority) -> None:
    """The canary trusts the node's own key alone; a neighbour looks with `tls.ca`, and with no other authority."""
    await until(lambda: list(node.canaries.parts()))
    (part,) = node.canaries.parts()
    assert (part.state, node.parts.reporter.report().api_url) == ("ok", url(node))
    knowing, strange = HttpReach(authority.client), HttpReach()
    try:
        assert (await knowing(url(node))).readable
        refused = await strange(url(node))
        assert not refused.readable
        assert "certificate verify failed" in refused.reason
    finally:
        await knowing.close()
        await strange.close()


# Refusing ---------------------------------------------------------------------------------------------------------


async def test_an_authority_that_nobody_named_is_not_believed(node: Node, tmp_path: Path) -> None:
    """Neither for WebSocket nor for HTTP, and no token is shown before."""
    (tmp_path / "other").mkdir()
    for tls in (None, Authority(tmp_path / "other", "authority").file):
        with pytest.raises(NotConnected):
            async with Client(url(node), token=token("ann"), tls=tls, connect_timeout_s=1.0):
                pass
    assert node.gateway.codes.total() == 0
    assert not node.answers


async def test_a_certificate_for_another_host_is_not_believed(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue(host="elsewhere.example")
    async with running(config(tmp_path / "data", tls=pair.tls)) as node:
        with pytest.raises(NotConnected):
            async with Client(url(node), token=token("ann"), tls=authority.file, connect_timeout_s=1.0):
                pass


async def test_an_expired_certificate_is_not_believed(authority: Authority) -> None:
    expired = authority.issue(begins=NOW - 2 * DAY, ends=NOW - DAY)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*expired)
    async with serving(tls=server) as served:
        address = f"wss://{HOST}:{served.listener.port}"
        with pytest.raises(NotConnected):
            async with Client(address, token=token("ann"), tls=authority.file, connect_timeout_s=1.0):
                pass


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_tls_is_1_2_or_newer(
    node: Node, authority: Authority, version: ssl.TLSVersion, taken: bool
) -> None:
    tls = authority.client
    tls.set_ciphers("ALL:@SECLEVEL=0")
    deprecated = version < ssl.TLSVersion.TLSv1_2
    with pytest.warns(DeprecationWarning, match="TLSv1_1") if deprecated else nullcontext():
        tls.minimum_version = tls.maximum_version = version
    try:
        await shown(node.port, tls)
    except (ssl.SSLError, ConnectionError):
        assert not taken
        await until(lambda: counted(node, "handshakes_failed"))
    else:
        assert taken


# Changing it ------------------------------------------------------------------------------------------------------


async def test_a_new_certificate_is_taken_while_people_are_connected(
    node: Node, authority: Authority, pair: Pair
) -> None:
    """Sessions go on, new connections are shown the new one, and nobody was asked."""
    async with client(node, "ann", authority.file) as ann:
        conversation = await ann.direct("ben")
        await conversation.send("before")
        renewed = authority.issue("renewed")
        renewed.put_in_place_of(pair)
        await until(lambda: events(node))
        assert await shown(node.port, authority.client) == renewed.serial
        await conversation.send("after")
        assert ann.statistics().connection_attempts == 1
    assert "a new certificate is in use" in events(node)[0]


async def test_one_that_is_about_to_expire_is_told_of(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, as an event; all the time, as a metric."""
    monkeypatch.setattr("posthouse.app.certificates.LOOK_INTERVAL_S", 0.05)
    pair = authority.issue(ends=NOW + 3 * DAY)
    async with running(config(tmp_path / "data", tls=pair.tls)) as node:
        await until(lambda: events(node))
        asked = f"{url(node)}/metrics"
        async with aiohttp.ClientSession() as http, http.get(asked, ssl=authority.client) as answer:
            lines = (await answer.text()).splitlines()
        (left,) = (line for line in lines if line.startswith("posthouse_certificate_expires_seconds"))
        assert 2 * 86_400 < float(left.split()[1]) <= 3 * 86_400
        assert len(events(node)) == 1
        assert "renew it" in events(node)[0]


async def test_one_that_cannot_be_used_is_refused_and_the_old_one_kept(
    node: Node, authority: Authority, pair: Pair
) -> None:
    before = pair.serial
    pair.certificate.write_bytes(authority.issue("stranger").certificate.read_bytes())
    await until(lambda: events(node))
    assert await shown(node.port, authority.client) == before
    assert "refused, and the one before kept" in events(node)[0]
    assert "is not the key of" in events(node)[0]


async def test_sighup_reads_it_again_and_commands_trust_what_the_data_folder_names_or_ca_and_nobody_else(
    authority: Authority, tmp_path: Path
) -> None:
    """A whole process and its command line. The certificate is not for 127.0.0.1, where the commands go."""
    pair = authority.issue(host="chat.example")
    settings = {"tls.certificate": pair.certificate, "tls.key": pair.key}
    with TlsServer(tmp_path / "server", settings=settings) as server:
        server.hang_up()  # without a change, which would be seen without the signal
        await until(lambda: server.events("certificate"))
        authority.issue("renewed").put_in_place_of(pair)
        await until(lambda: len(server.events("certificate")) == 2)
        by_name = "--address", server.url, "--ca", str(authority.file)
        assert (await posthouse("health", *by_name))[0] == 0
        status, said = await posthouse("health", "--address", server.url)
        assert (status, "certificate verify failed" in said) == (Exit.UNREACHABLE, True), said
        sent = await posthouse("send", "--as", "ann", "--data", str(server.data), "@ben", "hello")
        assert sent[0] == 0, sent
        log = tmp_path / "log.jsonl"
        log.write_text('{"at":"2004-11-15T12:00:00Z","kind":"message","nick":"ann","text":"hi"}\n')
        folder = "--data", str(server.data)
        for whom in (folder, (*folder, *by_name)):
            played = await posthouse("replay", str(log), *whom)
            assert played[0] == 0, played
        played = await posthouse("replay", str(log), *folder, "--address", server.url)
        assert (played[0], "certificate verify failed" in played[1]) == (Exit.UNREACHABLE, True), played


async def posthouse(*arguments: str) -> tuple[int, str]:
    """A command in a process of its own: its exit code, and what it said."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "posthouse", *arguments, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await running.communicate()
    assert running.returncode is not None
    return running.returncode, said.decode()


# Setting it up ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no certificate", "tls.certificate: GONE: No such file or directory; name a file in PEM"),
        ("no key", "tls.key: GONE: No such file or directory; name a file in PEM"),
        ("a folder", "tls.certificate: FOLDER: Is a directory"),
        ("another's key", "is not the key of"),
        ("expired", "expired on"),
        ("not yet valid", "is not valid before"),
        ("open to everybody", "is open to everybody on this machine; chmod o="),
        ("a password", "is protected by a password; write it without one: openssl pkey"),
        ("the two exchanged", "holds no certificate in PEM"),
        ("the certificate twice", "holds no private key in PEM"),
        ("not to be read", "may not be read by the user that this node runs as"),
    ],
)
async def test_what_cannot_be_used_is_told_before_anything_is_opened(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, said: str
) -> None:
    tls = faulty(authority, tmp_path, monkeypatch, fault)
    with pytest.raises(CertificateError) as raised:
        async with running(config(tmp_path / "data", tls=tls)):
            pass
    said = said.replace("GONE", str(tmp_path / "gone")).replace("FOLDER", str(tmp_path))
    assert said in str(raised.value)


def faulty(authority: Authority, folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> Tls:
    """What is configured, with one fault."""
    pair, other = authority.issue(), authority.issue("other")
    certificate, key = pair
    match fault:
        case "no certificate":
            certificate = folder / "gone"
        case "no key":
            key = folder / "gone"
        case "a folder":
            certificate = folder
        case "another's key":
            key = other.key
        case "expired":
            certificate, key = authority.issue("old", begins=NOW - 2 * DAY, ends=NOW - DAY)
        case "not yet valid":
            certificate, key = authority.issue("early", begins=NOW + DAY)
        case "open to everybody":
            key.chmod(0o604)
        case "a password":
            certificate, key = authority.issue("locked", password=b"open sesame")
        case "the two exchanged":
            certificate, key = key, certificate
        case "the certificate twice":
            key = other.certificate
            key.chmod(0o600)
        case "not to be read":  # tests may run as root, who may read everything
            monkeypatch.setattr(Path, "read_bytes", _denied)
    return Pair(certificate, key).tls


def _denied(path: Path) -> bytes:
    if path.suffix == ".key":
        raise PermissionError(13, "Permission denied")
    with path.open("rb") as file:
        return file.read()


@pytest.mark.parametrize("file", ["gone", "data.txt"])
async def test_an_authority_for_the_other_nodes_must_be_one(tmp_path: Path, file: str) -> None:
    (tmp_path / "data.txt").write_text("nobody vouches for anybody")
    with pytest.raises(CertificateError, match=f"tls.ca: .*{file}"):
        async with running(config(tmp_path / "data", tls=Tls(ca=str(tmp_path / file)))):
            pass


@pytest.mark.parametrize("only", ["certificate", "key"])
def test_certificate_and_key_are_given_together(only: str) -> None:
    with pytest.raises(ConfigError, match="give both, or neither"):
        load(flags={f"tls.{only}": "/some/file.pem"})


# Those who do not shake hands -------------------------------------------------------------------------------------


async def test_who_begins_no_handshake_counts_and_is_cut_in_time(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    """Two say nothing, one speaks HTTP in the clear: all count as connections, and none keeps its place."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*pair)
    limits = SocketLimits(connections_max=3, head_timeout_ms=2_000)
    async with serving(limits, tls=server) as served:
        port = served.listener.port
        idle = [await asyncio.open_connection(HOST, port) for _ in range(2)]
        await until(lambda: served.count("connections_open") == 2)
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n")
        with suppress(ConnectionError):
            assert b"HTTP" not in await reader.read()
        await until(lambda: served.count("connections_open") == 2)
        more = [await asyncio.open_connection(HOST, port) for _ in range(2)]
        await until(lambda: served.count("connections_cut") >= 1)
        await until(lambda: served.count("connections_open") == 0)
        assert served.count("handshakes_failed") == 4
        assert await shown(port, authority.client) == pair.serial
        for _, each in (*idle, *more, (reader, writer)):
            each.transport.abort()


async def test_a_node_that_stops_waits_for_nobody_s_handshake(node: Node) -> None:
    _, writer = await asyncio.open_connection(HOST, node.port)
    await until(lambda: counted(node, "connections_open") > 2)
    async with asyncio.timeout(PATIENCE_S):
        await node.stop()
    writer.transport.abort()


async def test_a_slow_reader_over_tls_is_disconnected_and_harms_nobody(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    """What waits for one client is bounded on both sides of the encryption."""
    limits = Limits(outbox_bytes_max=131_072, sends_per_user_per_s=1e6, sends_per_user_burst=1e6)
    async with (
        running(config(tmp_path / "data", tls=pair.tls, limits=limits)) as node,
        client(node, "ann", authority.file) as ann,
        client(node, "cyd", authority.file) as cyd,
    ):
        conversation, other = await ann.direct("ben"), await ann.direct("cyd")
        slow = await deaf(node, authority, "ben")
        for _ in range(200):
            await conversation.send("x" * 30_000)
            if node.gateway.codes[Code.SLOW_READER]:
                break
        assert node.gateway.codes[Code.SLOW_READER] == 1
        assert (await other.send("still here?")).seq == 2
        await heard(cyd, "still here?")
        slow.transport.abort()


async def heard(listener: Client, text: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        async for event in listener.events():
            if getattr(event, "text", "") == text:
                return


async def deaf(node: Node, authority: Authority, user: str) -> asyncio.StreamWriter:
    """A session of someone who reads their welcome and nothing after it."""
    reader, writer = await asyncio.open_connection(HOST, node.port, ssl=authority.client, limit=4096)
    writer.write(head(UPGRADE))
    await reader.readuntil(b"\r\n\r\n")
    hello = {"t": "hello", "token": token(user), "device": "phone", "heartbeat_s": 300}
    writer.write(client_frame(0x81, json.dumps(hello).encode()))
    await reader.readuntil(b'"welcome"')
    cast("asyncio.Transport", writer.transport).pause_reading()
    return writer


async def test_checking_a_configuration_checks_its_certificate(authority: Authority, tmp_path: Path) -> None:
    """Before a server is started with it."""
    pair, file = authority.issue(), tmp_path / "posthouse.toml"
    told = f'[tls]\ncertificate = "{pair.certificate}"\nkey = "{pair.key}"\nca = "{authority.file}"\n'
    file.write_text(told)
    assert (await posthouse("config", "check", str(file)))[0] == 0
    for wrong, said in ((str(pair.key), "No such file"), (str(authority.file), "No such file")):
        file.write_text(told.replace(wrong, f"{wrong}.gone"))
        status, text = await posthouse("config", "check", str(file))
        assert (status, said in text) == (1, True), text
