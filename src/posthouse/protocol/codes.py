"""Generated from spec/codes.toml by spec/generate.py; do not edit. Pure."""

from enum import IntEnum, StrEnum


class Action(StrEnum):
    """What a client does next; the range of a code decides it."""

    RESUME = "resume"
    """Reconnect, to another endpoint if there is one, after `reconnect_in_ms` if it was given, and resume."""
    RESET = "reset"
    """Reconnect as after `resume`, but forget the resume token and the positions, and fetch the conversation list afresh."""
    REAUTHENTICATE = "reauthenticate"
    """Get a new access token from the application, then reconnect and resume."""
    STOP = "stop"
    """Do not reconnect: something in the client or its application must change first."""
    RETRY = "retry"
    """Repeat the same request, with the same `client_id` if it is a send, after `retry_after_ms`."""
    REFUSED = "refused"
    """Do not repeat the request: the answer will be the same. A send is settled: it is not in the log."""
    RESET_REQUEST = "reset_request"
    """Forget what you hold of this conversation and fetch it afresh."""


class Code(IntEnum):
    """Why a connection ended or a request was refused."""

    DRAINING = 4001
    """The node is being taken out of service; go where `goaway` says."""
    SLOW_READER = 4002
    """The client did not read as fast as entries came; what it missed is in the log."""
    HEARTBEAT_MISSED = 4003
    """Nothing came from the client for twice its stated heartbeat interval."""
    OVERLOADED = 4004
    """The node has more connections, or more work, than it takes; try later or elsewhere."""
    REBALANCED = 4005
    """Sessions are being evened out among the nodes; go where `goaway` says."""
    INTERNAL = 4006
    """The node met an unexpected fault in this session; what was acknowledged is safe."""
    NODE_STOPPING = 4007
    """The node stops."""
    CONNECTION_RATE = 4008
    """The client sent more frames than a connection may; slow down."""
    HELLO_TIMEOUT = 4009
    """No valid `hello` came in time."""
    EPOCH_CHANGED = 4101
    """The log was restored from a backup or moved back in time: old positions must not be trusted."""
    RESUME_REFUSED = 4102
    """The resume token is malformed, expired, or not this user's and device's."""
    TOKEN_EXPIRED = 4201
    """The access token has expired."""
    TOKEN_INVALID = 4202
    """The access token is malformed, forged, signed by an unknown key, or not for this application."""
    BAD_FRAME = 4301
    """A frame is not JSON of the form that the specification gives."""
    FRAME_OUT_OF_ORDER = 4302
    """A frame came where it is not allowed, such as a second `hello` or anything before the first."""
    BLOCKED = 4305
    """The application has blocked this user or device."""
    FLOOD = 4306
    """The client went on after it had been told to slow down."""
    REPLACED = 4307
    """The same device opened a newer session that took this one's place."""
    RATE_LIMITED = 4501
    """The user, connection or application has sent more than its limit."""
    HELD_BACK = 4502
    """An earlier send of this session to this conversation was refused and must be settled first."""
    UNAVAILABLE = 4503
    """The conversation's database cannot commit now. Nothing was acknowledged; the send may or may not be in the log: repeat it."""
    BUSY = 4504
    """Too much is waiting on this node, or it has just stood still for a while; nothing was stored."""
    STORAGE_FULL = 4505
    """The database cannot take more data now: its disk is full or read-only."""
    IN_FLIGHT_LIMIT = 4506
    """The session has as many unanswered requests as it may have."""
    MOVED = 4507
    """The conversation is being moved to another database, or has just been; nothing was stored."""
    NOT_MEMBER = 4601
    """The user is not a member of the conversation, or it does not exist."""
    NOT_ALLOWED = 4602
    """The member's role does not allow this."""
    INVALID_CONTENT = 4603
    """The body, mentions or reply-to break the limits or rules of content."""
    CONFLICT = 4604
    """The same `client_id` was used before with other content."""
    TOO_OLD = 4605
    """The send was made longer ago than the window in which repeating is safe, and it is not in the log."""
    BAD_TIME = 4606
    """`made_at` lies in the future; correct the clock by the server's time."""
    INVALID_REQUEST = 4607
    """The request's fields contradict each other or break a limit."""
    EXISTS = 4608
    """A conversation with this id exists already and is different."""
    TOO_MANY_MEMBERS = 4609
    """The conversation has as many members as it may have."""
    UNKNOWN_KIND = 4610
    """Clients may not write entries of this kind."""
    NOT_FOUND = 4611
    """There is no such thing, or the caller may not know of it."""
    UNAUTHORIZED = 4612
    """The request carries no valid credentials."""
    CORRUPT = 4613
    """The database cannot read what was asked for: it is damaged. An operator must restore it."""
    GONE = 4701
    """The entries asked for are no longer kept."""


_RANGES: tuple[tuple[int, int, Action], ...] = (
    (4000, 4099, Action.RESUME),
    (4100, 4199, Action.RESET),
    (4200, 4299, Action.REAUTHENTICATE),
    (4300, 4399, Action.STOP),
    (1002, 1003, Action.STOP),
    (1007, 1010, Action.STOP),
    (4500, 4599, Action.RETRY),
    (4600, 4699, Action.REFUSED),
    (4700, 4799, Action.RESET_REQUEST),
)


TEXTS: dict[int, str] = {
    4001: "The node is being taken out of service; go where `goaway` says.",
    4002: "The client did not read as fast as entries came; what it missed is in the log.",
    4003: "Nothing came from the client for twice its stated heartbeat interval.",
    4004: "The node has more connections, or more work, than it takes; try later or elsewhere.",
    4005: "Sessions are being evened out among the nodes; go where `goaway` says.",
    4006: "The node met an unexpected fault in this session; what was acknowledged is safe.",
    4007: "The node stops.",
    4008: "The client sent more frames than a connection may; slow down.",
    4009: "No valid `hello` came in time.",
    4101: "The log was restored from a backup or moved back in time: old positions must not be trusted.",
    4102: "The resume token is malformed, expired, or not this user's and device's.",
    4201: "The access token has expired.",
    4202: "The access token is malformed, forged, signed by an unknown key, or not for this application.",
    4301: "A frame is not JSON of the form that the specification gives.",
    4302: "A frame came where it is not allowed, such as a second `hello` or anything before the first.",
    4305: "The application has blocked this user or device.",
    4306: "The client went on after it had been told to slow down.",
    4307: "The same device opened a newer session that took this one's place.",
    4501: "The user, connection or application has sent more than its limit.",
    4502: "An earlier send of this session to this conversation was refused and must be settled first.",
    4503: "The conversation's database cannot commit now. Nothing was acknowledged; the send may or may not be in the log: repeat it.",
    4504: "Too much is waiting on this node, or it has just stood still for a while; nothing was stored.",
    4505: "The database cannot take more data now: its disk is full or read-only.",
    4506: "The session has as many unanswered requests as it may have.",
    4507: "The conversation is being moved to another database, or has just been; nothing was stored.",
    4601: "The user is not a member of the conversation, or it does not exist.",
    4602: "The member's role does not allow this.",
    4603: "The body, mentions or reply-to break the limits or rules of content.",
    4604: "The same `client_id` was used before with other content.",
    4605: "The send was made longer ago than the window in which repeating is safe, and it is not in the log.",
    4606: "`made_at` lies in the future; correct the clock by the server's time.",
    4607: "The request's fields contradict each other or break a limit.",
    4608: "A conversation with this id exists already and is different.",
    4609: "The conversation has as many members as it may have.",
    4610: "Clients may not write entries of this kind.",
    4611: "There is no such thing, or the caller may not know of it.",
    4612: "The request carries no valid credentials.",
    4613: "The database cannot read what was asked for: it is damaged. An operator must restore it.",
    4701: "The entries asked for are no longer kept.",
}


def action_of(code: int) -> Action:
    """What a client does after `code`, known or not: codes outside every range mean `resume`."""
    for low, high, action in _RANGES:
        if low <= code <= high:
            return action
    return Action.RESUME
