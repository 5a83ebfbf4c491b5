"""The document is valid OpenAPI, says what the routes do, and is what the repository holds."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, strategies as st
from jsonschema import Draft202012Validator

from posthouse.api.credentials import Access
from posthouse.api.errors import STATUSES
from posthouse.api.openapi import refusals
from posthouse.api.routes import Route
from posthouse.api.shapes import ID_SCHEMA
from posthouse.api.web import ROUTES, openapi_json
from posthouse.model.errors import InvalidId
from posthouse.model.ids import check_id
from tests.api.site import Site, document

OPERATIONS = {
    operation["operationId"]: (path, method, operation)
    for path, methods in document()["paths"].items()
    for method, operation in methods.items()
}


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for each in value.values() for found in references(each)]
    return [found for each in value for found in references(each)] if isinstance(value, list) else []


async def test_the_document_is_served(site: Site) -> None:
    async with site.session.get(f"{site.url}/v1/openapi.json") as response:
        assert (response.status, await response.read()) == (200, openapi_json())


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    """P-15.1."""
    assert set(OPERATIONS) == {route.name for route in ROUTES}


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    schemas = document()["components"]["schemas"]
    responses = document()["components"]["responses"]
    assert set(references(document())) == {
        *(f"#/components/schemas/{name}" for name in schemas),
        *(f"#/components/responses/{name}" for name in responses),
    }


def test_every_schema_is_a_valid_one() -> None:
    for schema in document()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_an_operation_says_all_that_its_route_takes(route: Route) -> None:
    path, method, operation = OPERATIONS[route.name]
    assert (path, method) == (f"/v1{route.path}", route.method.lower())
    parameters = {(each["in"], each["name"]): each for each in operation["parameters"]}
    assert len(parameters) == len(operation["parameters"])
    in_path = {name for place, name in parameters if place == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", path))
    assert all(parameters["path", name]["required"] for name in in_path)
    assert (("header", "Idempotency-Key") in parameters) == (method != "get")
    assert ("requestBody" in operation) == ("body" in route.parts)
    assert set(operation["responses"]) == {"200", *map(str, refusals(route)), "default"}
    assert operation["summary"]


def test_every_status_of_a_refusal_is_one_of_some_operation_s() -> None:
    """`Site.ask` sees that no operation answers with another one than it says. 410 is for clients' own connections."""
    assert {status for route in ROUTES for status in refusals(route)} == {
        *STATUSES.values(),
        408,
        413,
        415,
    } - {410}


IDS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=3),
    st.text(st.sampled_from("~=a \0\x1f\x7f\x85\xa0\u2028\u3000\ufeff王"), max_size=5),
    st.integers(0, 130).map(lambda size: "x" * size),
)


@given(IDS)
def test_the_document_takes_for_an_id_what_the_code_takes(text: str) -> None:
    matches = re.compile(ID_SCHEMA["pattern"].removesuffix("$") + r"\Z").match(text)
    try:
        check_id(text, "user")
    except InvalidId:
        assert matches is None
    else:
        assert matches is not None


def test_security_is_as_the_routes_demand() -> None:
    """P-15.1."""
    for route in ROUTES:
        schemes = {name for each in OPERATIONS[route.name][2]["security"] for name in each}
        expected = {"accessToken"} if Access.USER in route.access else set()
        if Access.BACK_END in route.access:
            expected.add("apiKey")
        if Access.OPERATOR in route.access:
            expected.add("operatorKey")
        assert schemes == expected or route.access is Access.ANYONE


def test_the_document_is_json_of_openapi_3_1() -> None:
    assert json.loads(openapi_json())["openapi"] == "3.1.0"
