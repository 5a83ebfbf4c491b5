"""Access tokens that somebody made up, put together by hand and shown to a real node at every place that takes one."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from posthouse.app.config import App, Key
from posthouse.app.config.values import Canary, Limits
from posthouse.kit.clock import SystemClock
from posthouse.protocol.codes import Code
from tests.security.serving import ACME, SECRETS, UMBRELLA, config, running, token
from tests.security.site import Town

NOW_S = SystemClock().now_ms() // 1000
PRIVATE = Ed25519PrivateKey.generate()
STRANGER = Ed25519PrivateKey.generate()
PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
DER = PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
RAW = PRIVATE.public_key().public_bytes_raw()
Sign = Callable[[bytes], bytes]


def base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


FORMS: tuple[bytes | str, ...] = (PEM, PEM.rstrip(), DER, RAW, base64(RAW))
"""In which a public key may have been given to whoever forges."""


def hs256(secret: str | bytes) -> Sign:
    key = secret.encode() if isinstance(secret, str) else secret
    return lambda data: hmac.digest(key, data, hashlib.sha256)


ACME_S, UMBRELLA_S = hs256(SECRETS[ACME]), hs256(SECRETS[UMBRELLA])


def claims(**changes: object) -> dict[str, object]:
    """Good ones, with changes; None leaves one out."""
    good = {"sub": "ann", "aud": "posthouse", "iss": ACME, "exp": NOW_S + 3_600} | changes
    return {name: value for name, value in good.items() if value is not None}


def made(sign: Sign, payload: object = None, **header: object) -> str:
    """A token, signed as asked. A header of None is left out."""
    head = {"alg": "HS256", "typ": "JWT", "kid": "k1"} | header
    said = json.dumps({name: value for name, value in head.items() if value is not None})
    body = payload if isinstance(payload, str) else json.dumps(payload or claims())
    signed = f"{base64(said.encode())}.{base64(body.encode())}"
    return f"{signed}.{base64(sign(signed.encode()))}"


def nothing(_data: bytes) -> bytes:
    return b""


GOOD = made(ACME_S)
INJECTED = ("../../../dev/null", "/dev/null", "' OR '1'='1", "k1\n", "k1\0", "", "K1", "ed ", "é" * 30)

FORGED = {
    **{f"alg {alg}": made(nothing, alg=alg) for alg in ("none", "None", "nOnE", "NONE", "")},
    "no alg": made(nothing, alg=None),
    "none, with a signature": made(ACME_S, alg="none"),
    **{f"HMAC with the public key, form {n}": made(hs256(key), kid="ed") for n, key in enumerate(FORMS)},
    "the shared key under the name of EdDSA": made(ACME_S, alg="EdDSA"),
    "EdDSA under the name of the shared key": made(PRIVATE.sign, alg="EdDSA"),
    "EdDSA of somebody else": made(STRANGER.sign, alg="EdDSA", kid="ed"),
    "EdDSA called HS256": made(PRIVATE.sign, alg="HS256", kid="ed"),
    **{f"alg {alg} of the shared secret": made(ACME_S, alg=alg) for alg in ("HS384", "RS256", "ES256")},
    "a key inside the token": made(STRANGER.sign, alg="EdDSA", kid="ed", jwk={
        "kty": "OKP", "crv": "Ed25519", "x": base64(STRANGER.public_key().public_bytes_raw())}),
    "a key at an address": made(STRANGER.sign, alg="EdDSA", kid="ed", jku="http://127.0.0.1:1/keys.json"),
    "a demand that nobody knows": made(ACME_S, crit=["exp2"], exp2=1),
    "not for this service": made(ACME_S, claims(aud="another")),
    "for nobody": made(ACME_S, claims(aud=None)),
    "for several others": made(ACME_S, claims(aud=["a", "b"])),
    "umbrella's key for acme": made(UMBRELLA_S),
    "acme's key for umbrella": made(ACME_S, claims(iss=UMBRELLA)),
    "acme's key for umbrella by its app": made(ACME_S, claims(app=UMBRELLA)),
    "umbrella's key for acme by its app": made(UMBRELLA_S, claims(iss=UMBRELLA, app=ACME)),
    "the node's own canaries": made(ACME_S, claims(iss="~canary"), kid="canary"),
    "of no app": made(ACME_S, claims(iss=None)),
    **{f"the key named {kid!r}": made(ACME_S, kid=kid) for kid in INJECTED},
    **{f"the key named {kid!r}, with an empty secret": made(hs256(b""), kid=kid) for kid in INJECTED},
    **{f"the key named {kid}": made(ACME_S, kid=kid) for kid in (None, 1, ["k1"], {"k1": 1})},
    "not yet valid": made(ACME_S, claims(nbf=NOW_S + 3_000)),
    "without end": made(ACME_S, claims(exp=None)),
    "ends in words": made(ACME_S, claims(exp="tomorrow")),
    "ends in the year 2527": made(ACME_S, claims(exp=NOW_S + 500 * 365 * 86_400)),
    "ends at infinity": made(ACME_S, json.dumps(claims()).replace(str(NOW_S + 3_600), "1e999")),
    "of nobody": made(ACME_S, claims(sub=None)),
    "of an empty user": made(ACME_S, claims(sub="")),
    "of a user with a line break": made(ACME_S, claims(sub="ann\nben")),
    "of another device": made(ACME_S, claims(device="tablet")),
    "unsigned": GOOD.rpartition(".")[0] + ".",
    "two parts": GOOD.rpartition(".")[0],
    "four parts": GOOD + ".x",
    "the signature of another token": ".".join((*made(ACME_S, claims(sub="eve")).split(".")[:2],
                                                GOOD.split(".")[2])),
    "cut": GOOD[:-5],
    "large": made(ACME_S, claims(more="x" * 5_000)),
    "deep": made(ACME_S, '{"sub":"ann","x":' + "[" * 1_000 + "]" * 1_000 + "}"),
    "an API key": "ph_the-api-key-of-acme",
    "nothing": "",
}  # fmt: skip
EXPIRED = made(ACME_S, claims(exp=NOW_S - 1))


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    unhurried = Limits(logins_per_user_burst=1e6)
    settings = config(tmp_path / "data", canary=Canary(interval_s=0), limits=unhurried)
    own = settings.apps[ACME]
    ed = Key(kid="ed", alg="EdDSA", public_key=PEM.decode())
    settings.apps[ACME] = App(keys=(*own.keys, ed), api_key_hashes=own.api_key_hashes)
    async with running(settings) as node, Town.around(node) as town:
        yield town


async def test_genuine_tokens_of_both_kinds_are_taken(town: Town) -> None:
    """Without this the tests below would prove nothing."""
    for good in (GOOD, made(PRIVATE.sign, alg="EdDSA", kid="ed")):
        async with town.talking(good) as talk:
            assert talk.first["t"] == "welcome"
            assert (await talk.ask({"t": "renew", "ref": 1, "token": good}))["t"] == "done"
        assert (await town.ask("GET", "/v1/conversations", {"Authorization": f"Bearer {good}"})).status == 200


@pytest.mark.parametrize("how", ["hello", "renew", "REST"])
async def test_no_token_that_is_made_up_is_taken_anywhere(town: Town, how: str) -> None:
    """All of them: the answer is `token_invalid`, tells nothing of the token, and is counted."""
    before = town.node.gateway.codes[Code.TOKEN_INVALID]
    for name, forged in FORGED.items():
        if how == "REST" and name in ("of another device", "nothing"):
            continue  # REST has no device, and nothing is no token
        assert await shown(town, how, forged) == Code.TOKEN_INVALID, name
    if how != "REST":
        assert town.node.gateway.codes[Code.TOKEN_INVALID] >= before + len(FORGED)


@pytest.mark.parametrize("how", ["hello", "renew", "REST"])
async def test_a_token_that_is_over_is_told_apart_so_that_its_client_gets_another(
    town: Town, how: str
) -> None:
    assert await shown(town, how, EXPIRED) == Code.TOKEN_EXPIRED


async def shown(town: Town, how: str, bearer: str) -> int:
    """The code with which a token is refused; of a session, that it goes on after a `renew` was refused."""
    match how:
        case "hello":
            async with town.talking(bearer) as talk:
                code = int(talk.first["code"])
                assert (talk.first["t"], await talk.end()) == ("goaway", code)
                assert "ann" not in talk.first["reason"]
                return code
        case "renew":
            async with town.talking(token("ann")) as talk:
                refused = await talk.ask({"t": "renew", "ref": 1, "token": bearer})
                assert (await talk.ask({"t": "ping"}))["t"] == "pong"
                return int(refused["code"])
        case _:
            reply = await town.ask("GET", "/v1/conversations", {"Authorization": f"Bearer {bearer}"})
            assert reply.status == 401
            return int(reply.body["code"])
