"""The application's handle on one message that it has posted."""

import asyncio

from posthouse.client.errors import ClientError
from posthouse.client.host import Sent


class Posted:
    """A message on its way. Await `stored` or `acked`, or neither: it is sent all the same."""

    __slots__ = ("_acked", "_outcome", "_stored", "_stored_outcome", "client_id", "conv")

    def __init__(self, conv: str, client_id: str) -> None:
        self.conv = conv
        self.client_id = client_id
        self._outcome: Sent | ClientError | None = None
        self._acked: asyncio.Future[Sent] | None = None
        self._stored_outcome: bool | ClientError = False
        self._stored: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Posted {self.client_id} to {self.conv!r}: {self._outcome or 'on its way'}>"

    @property
    def acked(self) -> asyncio.Future[Sent]:
        """Awaits the server's word: `Sent`, or raises `SendRefused`, `StoreFailed` or `ClientClosed`.

        Giving up waiting does not withdraw the message.
        """
        if self._acked is None or self._acked.cancelled():
            self._acked = asyncio.get_running_loop().create_future()
            if self._outcome is not None:
                self._tell(self._acked, self._outcome)
        return self._acked

    @property
    def stored(self) -> asyncio.Future[None]:
        """Awaits that the message is in the store file, if there is one; raises `StoreFailed`."""
        if self._stored is None or self._stored.cancelled():
            self._stored = asyncio.get_running_loop().create_future()
            if self._stored_outcome is not False:
                self.mark_stored(None if self._stored_outcome is True else self._stored_outcome)
        return self._stored

    @property
    def outcome(self) -> Sent | ClientError | None:
        """How it ended, or None while it is on its way."""
        return self._outcome

    def mark_stored(self, error: ClientError | None) -> None:
        """The client's: the message is durable here, or could not be made so."""
        self._stored_outcome = error or True
        if self._stored is not None and not self._stored.done():
            if error is None:
                self._stored.set_result(None)
            else:
                self._stored.set_exception(error)

    def settle(self, outcome: Sent | ClientError) -> None:
        """The client's: this is how it ended."""
        self._outcome = outcome
        if self._acked is not None and not self._acked.done():
            self._tell(self._acked, outcome)

    @staticmethod
    def _tell(future: "asyncio.Future[Sent]", outcome: Sent | ClientError) -> None:
        if isinstance(outcome, Sent):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)
