"""Reads who is calling from a request's head: a user by their access token, an app's back end by its API key, or an
operator of the cluster by theirs."""

from collections.abc import Mapping
from enum import Flag, auto
from typing import NamedTuple

from posthouse.api.errors import ApiError
from posthouse.auth.keys import ApiKeys
from posthouse.auth.operators import OperatorKeys
from posthouse.auth.tokens import TokenError, TokenVerifier
from posthouse.protocol.codes import Code

OPERATOR_HEADER = "X-Operator-Key"
NO_OPERATORS = OperatorKeys(())
DEVICE_WITHOUT_NAME = "rest"
"""The device of a user whose token names none."""


class Access(Flag):
    """Who may call a route."""

    USER = auto()
    BACK_END = auto()
    OPERATOR = auto()
    EITHER = USER | BACK_END
    ANYONE = 0


class Caller(NamedTuple):
    """Who is calling, for which app. The back end has no user and no device, so nobody can take its sends' names."""

    app: str
    user: str = ""
    device: str = ""

    @property
    def is_back_end(self) -> bool:
        """True for an app's API key: it may do everything within its app."""
        return not self.user


class Credentials:
    """Tells callers by their credentials."""

    def __init__(
        self, verifier: TokenVerifier, api_keys: ApiKeys, operators: OperatorKeys = NO_OPERATORS
    ) -> None:
        self._verifier = verifier
        self._api_keys = api_keys
        self._operators = operators

    def is_operator(self, headers: Mapping[str, str]) -> bool:
        """True when an operator's key is shown: in a header of its own, or as Prometheus does, as a bearer's."""
        scheme, _, credential = headers.get("Authorization", "").partition(" ")
        bearer = credential.strip() if scheme.lower() == "bearer" else ""
        return self._operators.opens(headers.get(OPERATOR_HEADER, "") or bearer)

    def caller(self, headers: Mapping[str, str], now_s: float) -> Caller:
        """Whose request it is; raises `ApiError` with status 401."""
        scheme, _, credential = headers.get("Authorization", "").partition(" ")
        if "X-Api-Key" in headers:
            if scheme:
                raise ApiError(Code.UNAUTHORIZED, "give Authorization or X-Api-Key, not both")
            return self._back_end(headers["X-Api-Key"])
        if scheme.lower() == "apikey":
            return self._back_end(credential.strip())
        if scheme.lower() == "bearer":
            return self._user(credential.strip(), now_s)
        raise ApiError(
            Code.UNAUTHORIZED, "give a user's token (Authorization: Bearer …) or an API key (X-Api-Key: ph_…)"
        )

    def _back_end(self, key: str) -> Caller:
        app = self._api_keys.app_of(key)
        if app is None:
            raise ApiError(Code.UNAUTHORIZED, "the API key is not known")
        return Caller(app)

    def _user(self, token: str, now_s: float) -> Caller:
        try:
            identity = self._verifier.verify(token, now_s)
        except TokenError as error:
            raise ApiError(error.code, str(error)) from None
        return Caller(identity.app, identity.user, identity.device or DEVICE_WITHOUT_NAME)
