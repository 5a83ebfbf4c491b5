"""The machine's own address: one of its own that others can use, or its name where there is no way out."""

import socket

import psutil
import pytest

from posthouse.kit import address
from posthouse.kit.address import WILDCARDS, outward_address_of


def test_it_is_an_address_of_this_machine_or_the_machines_name() -> None:
    own = {each.address for interface in psutil.net_if_addrs().values() for each in interface}
    for host in WILDCARDS:
        assert outward_address_of(host) in {*own, socket.gethostname()} - {"127.0.0.1", "::1"}


def test_where_there_is_no_way_out_it_is_the_machines_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_FAR", {socket.AF_INET: "not an address"})
    assert outward_address_of("0.0.0.0") == socket.gethostname()
