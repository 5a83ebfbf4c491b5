"""Access tokens: JSON Web Tokens that say "this is user U of app A, until T". No I/O; the caller passes the time.

A token is verified once per connection or request. Its app and `kid` choose one of our key records, and the record
alone says which algorithm is used (RFC 8725, 3.1): a header that claims another one is refused.
"""

from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec
from jwt import PyJWK, PyJWTError
from jwt.api_jws import PyJWS

from posthouse.auth.jwk import private_jwk, public_jwk
from posthouse.auth.keys import Algorithm, AppKeys, InvalidKey, SigningKey
from posthouse.model.errors import InvalidId
from posthouse.model.ids import check_id
from posthouse.protocol.codes import Code

AUDIENCE = "posthouse"
TOKEN_BYTES_MAX = 4096
CLOCK_SKEW_S = 30
"""How far an issuer's clock may be ahead of ours."""

_jws = PyJWS(algorithms=[algorithm.value for algorithm in Algorithm])


class Identity(NamedTuple):
    """Who a verified token speaks for. `device` is empty when the token is good for any device of the user."""

    app: str
    user: str
    expires_s: int
    device: str = ""
    scopes: frozenset[str] = frozenset()


class TokenError(Exception):
    """A token that is not accepted; the message says why without repeating any of it."""

    code: Code = Code.TOKEN_INVALID


class TokenInvalid(TokenError):
    """Malformed, forged, signed by an unknown key, not for us, or with claims that break the rules."""


class TokenExpired(TokenError):
    """Was good, is over."""

    code = Code.TOKEN_EXPIRED


class _Header(msgspec.Struct):
    kid: str = ""


class _Claims(msgspec.Struct, omit_defaults=True):
    sub: str
    exp: int | float
    aud: str | tuple[str, ...]
    iss: str = ""
    app: str = ""
    nbf: int | float = 0
    iat: int | float = 0
    device: str = ""
    scope: str = ""

    @property
    def tenant(self) -> str:
        return self.app or self.iss


_decode_header = msgspec.json.Decoder(_Header).decode
_decode_claims = msgspec.json.Decoder(_Claims).decode


class TokenVerifier:
    """Verifies tokens of many apps."""

    def __init__(self, apps: Mapping[str, AppKeys], *, ttl_s_max: int) -> None:
        """`ttl_s_max` bounds how far ahead a token may expire. Raises `InvalidKey` for a key that cannot be used."""
        self._keys = {(app, key.kid): _checked(app, key, public_jwk) for app, key in _all_keys(apps)}
        self._ttl_s_max = ttl_s_max

    def admit(self, apps: Mapping[str, AppKeys]) -> None:
        """Take tokens of more apps. Raises `InvalidKey` for a key that cannot be used."""
        self._keys |= {(app, key.kid): _checked(app, key, public_jwk) for app, key in _all_keys(apps)}

    def verify(self, token: str, now_s: float) -> Identity:
        """The identity that `token` proves at `now_s` (seconds since 1970); raises `TokenInvalid`, `TokenExpired`."""
        if len(token) > TOKEN_BYTES_MAX:
            raise TokenInvalid(f"the token has more than {TOKEN_BYTES_MAX} bytes")
        name = _named_key(token)
        key = self._keys.get(name)
        if key is None:
            raise TokenInvalid("the token names no app (iss) and key (kid) that this server knows")
        claims = _verified_claims(token, key)
        if claims.tenant != name[0]:
            raise TokenInvalid("the token is signed by a key of another app")
        return self._identity(claims, now_s)

    def _identity(self, claims: _Claims, now_s: float) -> Identity:
        audience = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
        if AUDIENCE not in audience:
            raise TokenInvalid(f'the token is not for this service: "aud" must be "{AUDIENCE}"')
        if claims.exp <= now_s:
            raise TokenExpired("the token has expired")
        if claims.exp > now_s + self._ttl_s_max + CLOCK_SKEW_S:
            raise TokenInvalid(f"the token lives too long: at most {self._ttl_s_max} s are allowed")
        if claims.nbf > now_s + CLOCK_SKEW_S:
            raise TokenInvalid("the token is not valid yet (nbf)")
        try:
            user = check_id(claims.sub, "user")
            device = check_id(claims.device, "device") if claims.device else ""
        except InvalidId as error:
            raise TokenInvalid(f"the token's claims are not valid: {error}") from None
        return Identity(claims.tenant, user, int(claims.exp), device, frozenset(claims.scope.split()))


class TokenIssuer:
    """Issues tokens for apps that keep a signing key here."""

    def __init__(self, apps: Mapping[str, AppKeys]) -> None:
        """The last signing key of an app that is not retired signs its tokens."""
        self._keys = {
            app: (key.kid, _checked(app, key, private_jwk)) for app, key in _all_keys(apps) if key.signs
        }

    def can_issue(self, app: str) -> bool:
        """False when the app signs its tokens itself, with a key that is not here."""
        return app in self._keys

    def issue(
        self, app: str, user: str, *, now_s: int, ttl_s: int, device: str = "", scopes: Iterable[str] = ()
    ) -> str:
        """A token for `user`, good for `ttl_s` seconds from `now_s`.

        Raises `InvalidId` for a user or device that cannot be, and KeyError unless `can_issue(app)`.
        """
        kid, key = self._keys[app]
        claims = _Claims(
            sub=check_id(user, "user"),
            exp=now_s + ttl_s,
            aud=AUDIENCE,
            iss=app,
            iat=now_s,
            device=check_id(device, "device") if device else "",
            scope=" ".join(scopes),
        )
        return _jws.encode(msgspec.json.encode(claims), key, headers={"kid": kid})


def _named_key(token: str) -> tuple[str, str]:
    """(app, kid) as the token claims them: unproven, good only for looking up a key."""
    head, _, rest = token.partition(".")
    payload = rest.partition(".")[0]
    try:
        return _decode_claims(_decode_base64(payload)).tenant, _decode_header(_decode_base64(head)).kid
    except (msgspec.DecodeError, Base64Error, UnicodeError, ValueError, RecursionError):
        raise TokenInvalid("this is not a token, or it lacks one of: kid, sub, aud, exp, iss") from None


def _decode_base64(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _verified_claims(token: str, key: PyJWK) -> _Claims:
    try:
        return _decode_claims(_jws.decode_complete(token, key)["payload"])
    except (PyJWTError, msgspec.DecodeError) as error:
        raise TokenInvalid(f"the token's signature does not hold: {type(error).__name__}") from None


def _all_keys(apps: Mapping[str, AppKeys]) -> Iterator[tuple[str, SigningKey]]:
    for app, keys in apps.items():
        kids = [key.kid for key in keys.signing]
        if "" in kids or len(set(kids)) != len(kids):
            raise InvalidKey(f"app {app!r}: each of its keys needs a `kid` of its own")
        yield from ((app, key) for key in keys.signing)


def _checked(app: str, key: SigningKey, parse: Callable[[SigningKey], PyJWK]) -> PyJWK:
    try:
        return parse(key)
    except InvalidKey as error:
        raise InvalidKey(f"app {app!r}, key {key.kid!r}: {error}") from None
