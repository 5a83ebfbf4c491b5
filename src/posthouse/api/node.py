"""Where clients connect. Asked before anyone has credentials."""

from posthouse.api.call import Call
from posthouse.api.credentials import Access
from posthouse.api.routes import Routes
from posthouse.api.shapes import Endpoints

routes = Routes()


@routes.get("/endpoints", Access.ANYONE)
async def list_endpoints(call: Call) -> Endpoints:
    """URLs for the WebSocket, weighted. A client whose endpoint fails tries another at once."""
    found = call.context.service.endpoints(call.host, secure=call.secure)
    return Endpoints(endpoints=tuple(found), ttl_s=call.context.settings.endpoints_ttl_s)
