"""The OpenAPI 3.1 document, made from the routes' own types. spec/openapi.json is this, written down. Pure."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from posthouse.api.credentials import Access
from posthouse.api.errors import Problem
from posthouse.api.routes import Route
from posthouse.api.shapes import CLIENT_ID_SCHEMA

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"
_SECURITY: Mapping[Access, list[Json]] = {
    Access.USER: [{"accessToken": []}],
    Access.BACK_END: [{"apiKey": []}],
    Access.EITHER: [{"accessToken": []}, {"apiKey": []}],
    Access.OPERATOR: [{"operatorKey": []}],
    Access.ANYONE: [],
}
_DESCRIPTION = """\
What back ends manage and what clients ask outside their connection. A user shows an access token, an app's back end
an API key; neither reaches another app. Operators of the cluster show a key of their own.
Ids in paths are percent-encoded. Errors are always a `Problem`; the range of
its `code` says what to do next (docs/codes.md)."""
_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Names what the request writes: repeated with the same key it is done once. Up to 64 bytes.",
    "schema": {"type": "string", **CLIENT_ID_SCHEMA},
}
_ALWAYS = (400, 500, 503)
_OF_CALLERS: Mapping[Access, tuple[int, ...]] = {
    Access.ANYONE: (),
    Access.OPERATOR: (401,),
    Access.USER: (401, 403, 429),
    Access.BACK_END: (401, 403, 429),
    Access.EITHER: (401, 403, 429),
}
_OF_BODIES = (408, 413, 415)


def document(routes: Iterable[Route], version: str) -> Json:
    """The whole document, as plain values."""
    routes = tuple(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(f"/v1{route.path}", {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Posthouse", "version": version, "description": " ".join(_DESCRIPTION.split())},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _components(routes),
            "responses": {
                _phrase(status): {
                    "description": f"Refused: {HTTPStatus(status).phrase}.",
                    "content": _content(Problem),
                }
                for status in sorted({status for route in routes for status in refusals(route)})
            },
            "securitySchemes": {
                "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "operatorKey": {"type": "apiKey", "in": "header", "name": "X-Operator-Key"},
            },
        },
    }


def _operation(route: Route) -> Json:
    summary, _, more = (route.handler.__doc__ or "").strip().partition(". ")
    operation: Json = {
        "operationId": route.name,
        "summary": summary.rstrip("."),
        "parameters": _parameters(route),
        "responses": {
            "200": {"description": _meaning(route.answer), "content": _content(route.answer)},
            **{
                str(status): {"$ref": f"#/components/responses/{_phrase(status)}"}
                for status in refusals(route)
            },
            "default": {"description": "Refused.", "content": _content(Problem)},
        },
        "security": _SECURITY[route.access],
    }
    if more:
        operation["description"] = more
    if "body" in route.parts:
        operation["requestBody"] = {"required": True, "content": _content(route.parts["body"])}
    return operation


def refusals(route: Route) -> list[int]:
    """The statuses with which a route's requests may be refused. More may be added: `default` stands for those."""
    of_bodies = _OF_BODIES if "body" in route.parts else ()
    return sorted({*_ALWAYS, *_OF_CALLERS[route.access], *of_bodies, *route.refuses})


def _phrase(status: int) -> str:
    """What a status is called, as the name of a component."""
    return re.sub(r"\W", "", HTTPStatus(status).phrase)


def _parameters(route: Route) -> list[Json]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, (schema, _) in _properties(route.parts.get("path")).items()
    ]
    for name, (schema, required) in _properties(route.parts.get("query")).items():
        described = {"description": schema.pop("description")} if "description" in schema else {}
        parameters.append({"name": name, "in": "query", "required": required, "schema": schema, **described})
    return [*parameters, _IDEMPOTENCY_KEY] if route.mutates else parameters


def _properties(shape: type[msgspec.Struct] | None) -> dict[str, tuple[Json, bool]]:
    """Each field's schema, and whether it is required."""
    if shape is None:
        return {}
    schema = msgspec.json.schema_components([shape])[1][shape.__name__]
    return {
        name: (dict(item), name in schema.get("required", ())) for name, item in schema["properties"].items()
    }


def _components(routes: tuple[Route, ...]) -> Json:
    shapes: dict[type[msgspec.Struct], None] = {Problem: None}
    for route in routes:
        shapes |= dict.fromkeys(
            [route.answer, *(route.parts[part] for part in route.parts if part == "body")]
        )
    found = msgspec.json.schema_components(list(shapes), ref_template=_REF)[1]
    for schema in found.values():
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].split())
    return dict(sorted(found.items()))


def _content(shape: type[msgspec.Struct]) -> Json:
    return {"application/json": {"schema": {"$ref": _REF.format(name=shape.__name__)}}}


def _meaning(shape: type[msgspec.Struct]) -> str:
    return re.sub(r"\s+", " ", shape.__doc__ or "").strip()
