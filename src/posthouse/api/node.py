"""Where clients connect. Asked before anyone has credentials."""

import re

from posthouse.api.call import Call
from posthouse.api.credentials import Access
from posthouse.api.errors import ApiError
from posthouse.api.routes import Routes
from posthouse.api.shapes import Endpoints
from posthouse.protocol.codes import Code

_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")

ALONE_TTL_S = 30
"""How long a list is good for that names one of several nodes, while the others are away or take no clients: whoever
knows no other endpoint has nowhere to go when that one dies."""

routes = Routes()


@routes.get("/endpoints", Access.ANYONE)
async def list_endpoints(call: Call) -> Endpoints:
    """URLs for the WebSocket, the best first, weighted. A client whose endpoint fails tries another at once."""
    if _HOST.fullmatch(call.host) is None:
        raise ApiError(Code.INVALID_REQUEST, "the Host header names no host")
    service = call.context.service
    found = service.endpoints(call.host, secure=call.secure, reasons=call.is_operator)
    ttl_s = call.context.settings.endpoints_ttl_s
    return Endpoints(endpoints=tuple(found), ttl_s=min(ttl_s, ALONE_TTL_S) if service.is_alone() else ttl_s)
