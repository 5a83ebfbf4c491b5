"""Who reaches whom when a host of the playground is cut off, and how its connections are found."""

import asyncio
import os
import random
import socket
import sys

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.testing.faultproxy import CUT, NONE, Faults
from posthouse.testing.playground.network import Network, Way
from posthouse.testing.ports import free_ports

TO_SERVER = Faults(to_server_cut=True)
TO_CLIENT = Faults(to_client_cut=True)


def network() -> Network:
    return Network(SystemClock(), random.Random(0), lambda: {os.getpid(): "here"})


@pytest.mark.parametrize(
    ("way", "into_it", "out_of_it"),
    [("both", CUT, CUT), ("in", TO_SERVER, TO_CLIENT), ("out", TO_CLIENT, TO_SERVER)],
)
async def test_a_host_that_is_cut_off_is_so_in_what_leads_to_it_and_in_what_it_began(
    way: Way, into_it: Faults, out_of_it: Faults
) -> None:
    net = network()
    await net.cut("it", way)
    assert net.verdict("it", "other") == into_it
    assert net.verdict("other", "it") == out_of_it
    assert net.verdict("other", "another") == NONE
    assert net.concerns("other"), "it may be the one that began the connection"
    assert net.cut_of("it") == way
    await net.heal("it")
    assert net.verdict("it", "other") == NONE


@pytest.mark.parametrize(
    ("way", "into_it", "out_of_it"),
    [("both", CUT, CUT), ("in", TO_SERVER, TO_CLIENT), ("out", TO_CLIENT, TO_SERVER)],
)
async def test_a_host_may_be_cut_off_from_some_only(way: Way, into_it: Faults, out_of_it: Faults) -> None:
    net = network()
    await net.cut_from("it", ("cache", "it"), way)
    assert net.verdict("it", "cache") == into_it
    assert net.verdict("cache", "it") == out_of_it
    assert net.verdict("it", "other") == net.verdict("other", "it") == net.verdict("it", "it") == NONE
    assert (net.cut_of("it"), net.cut_of("cache")) == ("some", "")
    assert [net.concerns(target) for target in ("it", "cache", "other")] == [True, True, False]
    await net.heal("it")
    assert net.verdict("it", "cache") == NONE


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def test_a_connection_is_known_by_the_process_that_began_it() -> None:
    net = network()
    listen, public = (next(free_ports()) for _ in range(2))
    net.before("there", listen, public)
    server = await asyncio.start_server(_echo, "127.0.0.1", listen)
    await net.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", public)
    try:
        writer.write(b"a")
        assert await reader.read(1) == b"a"
        await net.cut("here", "out")
        writer.write(b"b")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(1)
        await net.heal("here")
        assert await reader.read(1) == b"b"
        await net.reset("another")
        writer.write(b"c")
        assert await reader.read(1) == b"c"
        await net.reset("here")
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
    finally:
        writer.close()
        await net.close()
        server.close()


HOLD = """
import socket, sys
with socket.socket() as held:
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", int(sys.argv[1])))
    held.connect(("127.0.0.1", int(sys.argv[2])))
    print("held", flush=True)
    sys.stdin.read()
"""


async def test_a_stranger_that_has_the_same_port_as_a_connection_of_the_host_is_not_cut_off_with_it() -> None:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    elsewhere = server.sockets[0].getsockname()[1]
    own, public = (next(free_ports()) for _ in range(2))
    host = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLD, str(own), str(elsewhere)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert host.stdout is not None
        assert await host.stdout.readline() == b"held\n"
        net = Network(SystemClock(), random.Random(0), lambda: {host.pid: "here"})
        net.before("there", elsewhere, public)
        await net.start()
        stranger = socket.socket()
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", own))
        stranger.connect(("127.0.0.1", public))
        reader, writer = await asyncio.open_connection(sock=stranger)
        try:
            await net.cut("here", "both")
            writer.write(b"a")
            async with asyncio.timeout(10):
                assert await reader.read(1) == b"a"
        finally:
            writer.close()
            await net.close()
            server.close()
    finally:
        host.kill()
        await host.wait()
