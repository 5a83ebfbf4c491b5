"""The local server that tests stand on: it starts, dies, comes back with its data, and never outlives its owner."""

import subprocess
import sys
from http.client import HTTPConnection

import psutil
import pytest

from posthouse.testing.servers import LocalServer, ServerFailed


def status_of(server: LocalServer, path: str = "/readyz") -> int:
    asking = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        asking.request("GET", path)
        return asking.getresponse().status
    finally:
        asking.close()


def test_it_is_ready_from_entry_on_and_gone_with_its_folder_on_exit() -> None:
    with LocalServer() as server:
        assert status_of(server) == 200
        pid, folder = server.pid, server.folder
        assert server.secrets.api_key
    assert not psutil.pid_exists(pid)
    assert not folder.exists()


def test_it_comes_back_on_its_port_with_its_keys_however_it_ended() -> None:
    with LocalServer() as server:
        secrets, port = server.secrets.secret, server.port
        for end in (server.kill, server.stop):
            end()
            with pytest.raises(ConnectionRefusedError):
                status_of(server)
            server.start()
            assert (server.secrets.secret, server.port) == (secrets, port)
            assert status_of(server) == 200


def test_a_frozen_server_answers_once_it_is_thawed() -> None:
    with LocalServer() as server:
        server.freeze()
        assert psutil.Process(server.pid).status() == psutil.STATUS_STOPPED
        server.thaw()
        assert status_of(server) == 200


def test_a_server_that_cannot_start_says_why() -> None:
    server = LocalServer(settings={"limits.connections_max": "many"})
    with pytest.raises(ServerFailed, match="connections_max"), server:
        pass
    assert not server.folder.exists()


OWNER = """
from posthouse.testing.servers import LocalServer
server = LocalServer()
server.start()
print(server.pid, server.folder, flush=True)
input()
"""


def test_it_does_not_outlive_an_owner_that_is_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    with owner.stdout, owner.stdin:
        pid, folder = owner.stdout.readline().split()
        running = psutil.Process(int(pid))
        owner.kill()
        owner.wait()
        while running.is_running() and running.status() != psutil.STATUS_ZOMBIE:
            psutil.wait_procs([running], timeout=0.02)
    assert folder
