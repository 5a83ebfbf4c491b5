"""The Python SDK: `Client`, its events and errors. Needs nothing of the server."""

from posthouse.client.client import Client, ConversationHandle, Statistics
from posthouse.client.errors import (
    ClientClosed,
    ClientError,
    InvalidArgument,
    NotConnected,
    OutboxFull,
    Refused,
    RequestFailed,
    RequestRefused,
    SendRefused,
    Stopped,
    StoreFailed,
    StoreInUse,
    StoreMismatch,
    TokenRefused,
    TooManyRequests,
)
from posthouse.client.events import (
    CatchUpFailed,
    Connected,
    ConversationJoined,
    ConversationLeft,
    ConversationReset,
    CursorsMoved,
    Disconnected,
    EntryReceived,
    Event,
    MessageReceived,
    Reset,
    Resumed,
    SendFailed,
)
from posthouse.client.host import Sent
from posthouse.client.posted import Posted
from posthouse.client.rest import Profile, Rest
from posthouse.client.runtime import Runtime
from posthouse.model.conversation import Conversation, History, Kind, Member, Role
from posthouse.model.entry import Entry
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import MemberCursor, Summary

__all__ = [
    "CatchUpFailed",
    "Client",
    "ClientClosed",
    "ClientError",
    "Code",
    "Connected",
    "Conversation",
    "ConversationHandle",
    "ConversationJoined",
    "ConversationLeft",
    "ConversationReset",
    "CursorsMoved",
    "Disconnected",
    "Entry",
    "EntryReceived",
    "Event",
    "History",
    "InvalidArgument",
    "Kind",
    "Member",
    "MemberCursor",
    "MessageReceived",
    "NotConnected",
    "OutboxFull",
    "Posted",
    "Profile",
    "Refused",
    "RequestFailed",
    "RequestRefused",
    "Reset",
    "Rest",
    "Resumed",
    "Role",
    "Runtime",
    "SendFailed",
    "SendRefused",
    "Sent",
    "Statistics",
    "Stopped",
    "StoreFailed",
    "StoreInUse",
    "StoreMismatch",
    "Summary",
    "TokenRefused",
    "TooManyRequests",
]
