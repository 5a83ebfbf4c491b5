"""Where a node says that it is reached: by the other nodes always, by clients where that leads to it alone."""

import pytest

from posthouse.app.addresses import api_url, clients_url, public_url
from posthouse.app.config.values import Config, Listen, Node, Tls

TLS = Tls(certificate="a.pem", key="a.key")


def reached(listen: Listen, address: str = "", tls: Tls = Tls(), port: int = 8080) -> tuple[str, str]:  # noqa: B008 - frozen
    """For other nodes, and for clients, on a machine whose own address is 10.0.0.9, or fd00::9."""
    config = Config(listen=listen, node=Node(address=address), tls=tls)
    api = api_url(config, port, lambda host: "fd00::9" if ":" in host else "10.0.0.9")
    return api, clients_url(config, api)


@pytest.mark.parametrize(
    ("listen", "address", "expected"),
    [
        (Listen(host="10.0.0.1"), "", ("http://10.0.0.1:8080", "ws://10.0.0.1:8080")),
        (Listen(host="0.0.0.0"), "", ("http://10.0.0.9:8080", "ws://10.0.0.9:8080")),
        (Listen(host="::"), "", ("http://[fd00::9]:8080", "ws://[fd00::9]:8080")),
        (Listen(host="0.0.0.0"), "node-1", ("http://node-1:8080", "ws://node-1:8080")),
        (Listen(host="0.0.0.0"), "fd00::1", ("http://[fd00::1]:8080", "ws://[fd00::1]:8080")),
        (Listen(host="0.0.0.0", front_url="https://all"), "", ("http://10.0.0.9:8080", "")),
        (Listen(host="0.0.0.0", public_url="https://n1/"), "", ("https://n1", "wss://n1")),
        (Listen(host="0.0.0.0", public_url="https://n1"), "node-1", ("http://node-1:8080", "wss://n1")),
        (Listen(public_url="https://n1", front_url="https://all"), "", ("https://n1", "wss://n1")),
    ],
)
def test_without_tls_a_node_always_has_an_address(
    listen: Listen, address: str, expected: tuple[str, str]
) -> None:
    assert reached(listen, address) == expected


def test_under_tls_only_what_was_configured_can_be_what_a_certificate_names() -> None:
    assert reached(Listen(host="0.0.0.0"), tls=TLS) == ("", "")
    assert reached(Listen(host="0.0.0.0"), "n1.internal", TLS)[0] == "https://n1.internal:8080"
    assert reached(Listen(host="10.0.0.1"), tls=TLS)[0] == "https://10.0.0.1:8080"


def test_before_it_listens_it_is_nowhere() -> None:
    assert reached(Listen(host="0.0.0.0"), port=0) == ("", "")


@pytest.mark.parametrize(
    ("public", "own"),
    [
        ("http://n1.example", "http://n1.example:8082"),
        ("https://n1.example:8443/", "https://n1.example:8082"),
        ("http://[fd00::1]:80", "http://[fd00::1]:8082"),
        ("", ""),
    ],
)
def test_one_of_several_on_a_port_is_told_of_with_its_own(public: str, own: str) -> None:
    listen = Listen(public_url=public, direct_port=8082)
    assert public_url(Config(listen=listen)) == own
    if public:
        assert reached(listen) == (own, own.replace("http", "ws", 1))
