"""Routes from typed handlers: the signature says what is read from path, query and body, and what is answered.

A handler is `async def name(call, path: P, query: Q, body: B) -> A`, each part optional but the call. The same
signature makes the OpenAPI document, so the document cannot say anything else than the code does.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_origin, get_type_hints

import msgspec

from posthouse.api.call import Call
from posthouse.api.credentials import Access
from posthouse.api.errors import ApiError
from posthouse.kit.malformed import MALFORMED
from posthouse.protocol.codes import Code

Handler = Callable[..., Awaitable[msgspec.Struct]]
PARTS = ("path", "query", "body")


@dataclass(frozen=True)
class Route:
    """One method of one path. `parts` are the types of what the handler takes besides the call; `refuses` are statuses
    that do not follow from who may call and from what is sent."""

    method: str
    path: str
    access: Access
    handler: Handler
    parts: Mapping[str, type[msgspec.Struct]]
    answer: type[msgspec.Struct]
    refuses: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The handler's name: unique, and the operation's id."""
        return self.handler.__name__

    @property
    def mutates(self) -> bool:
        """True when an Idempotency-Key makes sense."""
        return self.method != "GET"

    async def run(
        self, call: Call, path: Mapping[str, str], query: Mapping[str, Sequence[str]], body: bytes
    ) -> bytes:
        """Read the parts, call the handler, encode its answer; raises `ApiError` for parts that are malformed."""
        parts = {}
        if "path" in self.parts:
            parts["path"] = _converted(dict(path), self.parts["path"])
        parts |= self._query(query)
        if "body" in self.parts:
            parts["body"] = _decoded(body, self.parts["body"])
        return msgspec.json.encode(await self.handler(call, **parts))

    def _query(self, query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        shape = self.parts.get("query")
        known = _lists(shape) if shape is not None else {}
        unknown = next((name for name in query if name not in known), None)
        if unknown is not None:
            raise ApiError(Code.INVALID_REQUEST, f"unknown query parameter {unknown!r}")
        if shape is None:
            return {}
        for name, values in query.items():
            if len(values) > 1 and not known[name]:
                raise ApiError(Code.INVALID_REQUEST, f"the query parameter {name!r} is given twice")
        raw = {name: list(values) if known[name] else values[0] for name, values in query.items()}
        return {"query": _converted(raw, shape)}


class Routes:
    """Collects routes by decorators: `@routes.get("/users/{user}", Access.EITHER, 404)`."""

    def __init__(self) -> None:
        self.all: list[Route] = []

    def get(self, path: str, access: Access, *refuses: int) -> Callable[[Handler], Handler]:
        return self._method("GET", path, access, refuses)

    def post(self, path: str, access: Access, *refuses: int) -> Callable[[Handler], Handler]:
        return self._method("POST", path, access, refuses)

    def put(self, path: str, access: Access, *refuses: int) -> Callable[[Handler], Handler]:
        return self._method("PUT", path, access, refuses)

    def patch(self, path: str, access: Access, *refuses: int) -> Callable[[Handler], Handler]:
        return self._method("PATCH", path, access, refuses)

    def delete(self, path: str, access: Access, *refuses: int) -> Callable[[Handler], Handler]:
        return self._method("DELETE", path, access, refuses)

    def _method(
        self, method: str, path: str, access: Access, refuses: tuple[int, ...]
    ) -> Callable[[Handler], Handler]:
        def add(handler: Handler) -> Handler:
            hints = get_type_hints(handler)
            parts = {part: hints[part] for part in PARTS if part in hints}
            self.all.append(Route(method, path, access, handler, parts, hints["return"], refuses))
            return handler

        return add


def is_list(type_: Any) -> bool:
    """True for a query parameter that may be given several times."""
    bare = get_origin(type_.__origin__ if hasattr(type_, "__metadata__") else type_)
    return bare is tuple


def _lists(shape: type[msgspec.Struct]) -> dict[str, bool]:
    return {item.encode_name: is_list(item.type) for item in msgspec.structs.fields(shape)}


def _converted(raw: dict[str, Any], shape: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.convert(raw, shape, strict=False)
    except msgspec.ValidationError as error:
        raise ApiError(Code.INVALID_REQUEST, str(error)) from None


def _decoded(body: bytes, shape: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.json.decode(body, type=shape)
    except RecursionError:
        raise ApiError(Code.INVALID_REQUEST, "the body is nested too deep") from None
    except MALFORMED as error:
        raise ApiError(Code.INVALID_REQUEST, f"the body: {error}") from None
