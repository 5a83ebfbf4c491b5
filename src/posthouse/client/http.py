"""HTTP for the SDK: one aiohttp session, made when first needed. The only module that knows aiohttp."""

import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

from posthouse.client.errors import RequestFailed

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_S = 15.0
ANSWER_BYTES_MAX = 8 * 1024 * 1024
CONNECTIONS_MAX = 32


class Answer(NamedTuple):
    """An HTTP answer. `retry_after_s`: from the header, or 0."""

    status: int
    body: bytes
    retry_after_s: float = 0.0


class Http:
    """Asks and answers. Usable by many clients at once."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        """Send one request; raises `RequestFailed` when there was no answer."""
        import aiohttp
        from yarl import URL

        session = self._open()
        try:
            exact = URL(url, encoded=True)  # ids in the path are encoded already
            # No node redirects, and whoever else does must not be handed tokens and keys.
            async with session.request(
                method, exact, headers=headers, data=body, allow_redirects=False
            ) as response:
                content = await _whole(response.content)
                wait = response.headers.get("Retry-After", "")
                return Answer(response.status, content, float(wait) if wait.isdigit() else 0.0)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = str(error) or type(error).__name__
            raise RequestFailed(f"{method} {url} got no answer: {said}") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            options: dict[str, Any] = {"ssl": self._tls} if self._tls is not None else {}
            connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, **options)
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._session


async def _whole(content: "aiohttp.StreamReader") -> bytes:
    """The body to its end: a single `read` gives only what has arrived so far."""
    body = bytearray()
    async for part in content.iter_any():
        body += part
        if len(body) > ANSWER_BYTES_MAX:
            raise RequestFailed(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)
