"""Asks another node's API whether it is there. One HTTP client for all, bounded in time; never raises."""

import ssl

import aiohttp

from posthouse.storage.base import Condition

TIMEOUT_S = 2.0


class HttpReach:
    """`await reach(url)`; to be closed."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: who vouches for the other nodes; the system's authorities do if it is None."""
        self._tls = tls
        self._http: aiohttp.ClientSession | None = None

    async def __call__(self, url: str) -> Condition:
        """Whether `GET /healthz` is answered."""
        if self._http is None:
            connector = aiohttp.TCPConnector(ssl=self._tls or True)
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            self._http = aiohttp.ClientSession(connector=connector, timeout=timeout)
        try:
            async with self._http.get(f"{url.rstrip('/')}/healthz") as response:
                well = response.status == 200
                return Condition(well, well, "" if well else f"/healthz answered {response.status}")
        except TimeoutError:
            return Condition(False, False, f"/healthz was not answered within {TIMEOUT_S:g} s")
        except (aiohttp.ClientError, ValueError) as error:
            return Condition(False, False, str(error) or type(error).__name__)

    async def close(self) -> None:
        """Let go of connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None
