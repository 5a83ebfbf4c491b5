"""Access tokens made on the spot with the keys in a server's data folder: asking for them is no part of a load."""

from pathlib import Path

from posthouse.app.config import Config
from posthouse.app.config.values import Data
from posthouse.app.secrets import DEFAULT_APP, credentials
from posthouse.auth.tokens import TokenIssuer
from posthouse.kit.clock import Clock

TTL_S = 12 * 3600


class Passes:
    """Tokens for users of the app `default`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        config = Config(data=Data(folder=str(folder)))
        self._issuer = TokenIssuer(credentials(config).apps)
        self._clock = clock

    def token(self, user: str) -> str:
        """A token that outlives the benchmark."""
        return self._issuer.issue(DEFAULT_APP, user, now_s=self._clock.now_ms() // 1000, ttl_s=TTL_S)
