"""One tree of errors: each says what happened and what to do about it. Pure."""


class ClientError(Exception):
    """The base of everything the SDK raises about the service; wrong arguments raise `InvalidArgument`, also one."""


class InvalidArgument(ClientError, ValueError):
    """A body, id, address or option that can never work; nothing was sent. Mend the call."""


class ClientClosed(ClientError):
    """The client is closed, or was never started. Open a new one; with a store it goes on where this one stopped."""


class NotConnected(ClientError):
    """No session came about in time; the text ends with the last reason. Check the address and the network."""


class Stopped(ClientError):
    """The server told this client not to come back (`code`, 43xx): the client or its application must change first."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the server ended the session for good: {reason} ({code})")
        self.code = code
        self.reason = reason


class TokenRefused(Stopped):
    """The access token was refused (`code`, 42xx) and no better one was to be had. Get one from your back end."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.args = (
            f"the server refused the access token: {reason} ({code}); get a new one from your back end",
        )


class Refused(ClientError):
    """The server refused one request, for good. `code` is of `posthouse.protocol.codes.Code`; repeating is useless."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"refused: {reason} ({code})")
        self.code = code
        self.reason = reason


class SendRefused(Refused):
    """A message was refused and is not in the log. The messages after it go on."""


class RequestRefused(Refused):
    """A question or a change, such as reading history or inviting a member, was refused."""


class RequestFailed(ClientError):
    """A request got no usable answer in time, so whether it was carried out is not known. Repeat it later."""


class TooManyRequests(ClientError):
    """Too many requests wait for an answer already. Await some of them first."""


class OutboxFull(ClientError):
    """As many messages as `outbox_messages_max` wait to be acknowledged; this one was not taken. Try again later."""


class StoreFailed(ClientError):
    """The store file could not be read or written, as the text says; what was handed over meanwhile was not taken."""


class StoreInUse(StoreFailed):
    """Another client has this store file open. Each running client needs a file of its own."""


class StoreMismatch(StoreFailed):
    """The store file belongs to another user or device. Give each its own file."""
