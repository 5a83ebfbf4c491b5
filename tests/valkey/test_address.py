"""Addresses of deployments: what they mean, what is wrong with those that mean nothing, and nothing secret shown."""

import pytest

from posthouse.valkey.address import Address, InvalidAddress, Login, Place, Tls, parse

NOBODY = Login("", "")


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://h", Address("alone", (Place("h", 6379),), NOBODY, 0, None, "", NOBODY)),
        (
            "valkey://ann:p%40ss%2F@h:7/3",
            Address("alone", (Place("h", 7),), Login("ann", "p@ss/"), 3, None, "", NOBODY),
        ),
        (
            "rediss://:pw@h?ca=/etc/ca.pem&verify=no",
            Address("alone", (Place("h", 6379),), Login("", "pw"), 0, Tls("/etc/ca.pem", "", "", False), "", NOBODY),
        ),
        (
            "redis+sentinel://:pw@a,b:1,[::1]:2/main?db=4&sentinel-user=s&sentinel-password=t",
            Address(
                "sentinel", (Place("a", 26379), Place("b", 1), Place("::1", 2)), Login("", "pw"), 4, None, "main",
                Login("s", "t"),
            ),
        ),
        (
            "valkeys+cluster://a:1,b:2/",
            Address("cluster", (Place("a", 1), Place("b", 2)), NOBODY, 0, Tls(), "", NOBODY),
        ),
    ],
)  # fmt: skip
def test_each_form_means_a_deployment(url: str, meant: Address) -> None:
    assert parse(url) == meant


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "begins with"),
        ("http://h", "begins with"),
        ("redis:h", "begins with"),
        ("redis+other://h", "begins with"),
        ("redis://h:0", "host:port"),
        ("redis://h:99999", "host:port"),
        ("redis://a b", "host:port"),
        ("redis://a,,b", "host:port"),
        ("redis://[::1", "host:port"),
        ("redis://h/name", "is a number"),
        ("redis+sentinel://h", "which primary"),
        ("redis+cluster://h?db=1", "database 0"),
        ("redis://h?passwort=secret", "no option is called passwort"),
        ("redis://u:hunter?2@h", "is written %3F"),
        ("redis://u:hunter/?2@h", "is written %3F"),
        ("rediss://h?verify=maybe", "yes or no"),
    ],
)
def test_what_is_wrong_is_said(url: str, said: str) -> None:
    with pytest.raises(InvalidAddress, match=said):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:secret@h:1/2",
        "rediss+sentinel://:secret@h:1,[::1]:2/main?sentinel-password=secret",
        "redis+cluster://:secret@h:1,i:2",
    ],
)
def test_an_address_is_shown_without_its_secrets_and_can_be_read_again(url: str) -> None:
    address = parse(url)
    assert "secret" not in f"{address} {address!r}"
    assert parse(str(address)).places == address.places
