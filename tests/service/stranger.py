"""A stranger who knows the API's document and nothing else: schemathesis, with the credential of one caller.

Its engine runs in a thread beside the node's loop, with one seed: valid and invalid requests at every limit of every
schema, then drawn ones, then sequences in which one answer's ids go into the next request.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import schemathesis
import schemathesis.specs.openapi.schemas  # now: parsed in a thread it meets a fault of Python 3.11's parser
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from posthouse.api.web import openapi_json

SEED = 1
EXAMPLES = 5
"""Drawn for each operation, beside some forty at the limits of its schemas."""
CONVERSATION, MEMBER, NODE = "team", "ann", "n1"
"""Exist, and are asked for every other time: other names lead nowhere."""

Credential = Mapping[str, Mapping[str, str]]

CHECKS: dict[str, Any] = {
    # 422 is for what no schema says: how old a send may be, which entries may be replied to, what a body may hold.
    "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "409", "422"]},
}
RULES_BETWEEN_FIELDS = re.compile(
    r"say whose conversations|give `after` or `before`, not both|give a title or properties to change"
    r"|only channels have readers|a direct conversation has two users|a user is named twice among the members"
    r"|account logs begin by themselves|both users of a direct conversation|one entry names at most 1000 users"
    r"|the id of a direct conversation follows from its users|such ids are derived|ttl_s is at most"
    r"|`client_id` and Idempotency-Key differ|contains the character U\+0000"
    r"|Expected `int( \| null)?`, got `float`"  # 1.0 is an integer to JSON Schema, and a misunderstanding to us
)
"""Reasons to refuse what each schema by itself allows: no document can say them."""


class Heard(NamedTuple):
    """What came of it: each complaint once, and the statuses of each operation."""

    complaints: set[str]
    statuses: Mapping[str, set[int]]


def document() -> dict[str, Any]:
    """The API's document, without what stands for statuses that are not named: those must not come."""
    found: dict[str, Any] = json.loads(openapi_json())
    for operations in found["paths"].values():
        for operation in operations.values():
            del operation["responses"]["default"]
    return found


def plays(url: str, credential: Credential) -> Heard:
    """Ask all operations all kinds of things. Blocks."""
    schema = schemathesis.openapi.from_dict(document(), config=_config(url, credential))
    heard = Heard(set(), defaultdict(set))
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            heard.complaints.add(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            raise event.exception
        elif isinstance(event, events.ScenarioFinished):
            _hear(heard, event.recorder)
    return heard


def _config(url: str, credential: Credential) -> SchemathesisConfig:
    known = {"path.conv": CONVERSATION, "path.user": MEMBER, "body.node": NODE}
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "base-url": url,
            "continue-on-failure": True,
            "generation": {
                "max-examples": EXAMPLES,
                "deterministic": True,
                "no-shrink": True,
                "database": "none",
            },
            "dictionaries": {name: {"values": [name]} for name in known.values()},
            "parameters": {place: {"dictionary": name, "probability": 0.5} for place, name in known.items()},
            "checks": CHECKS,
            **({"auth": {"openapi": credential}} if credential else {}),
        }
    )


def _hear(heard: Heard, recorder: ScenarioRecorder) -> None:
    for name, interaction in recorder.interactions.items():
        if interaction.response is not None and name in recorder.cases:
            operation = recorder.cases[name].value.operation.label
            heard.statuses[operation].add(interaction.response.status_code)
    for name, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None and not _is_a_rule(check.name, recorder, name):
                failure = check.failure_info.failure
                heard.complaints.add(f"{failure.operation}: {failure.title}: {failure.message}")


def _is_a_rule(check: str, recorder: ScenarioRecorder, name: str) -> bool:
    response = recorder.interactions[name].response
    said = response.json().get("reason", "") if response is not None else ""
    return check == "positive_data_acceptance" and RULES_BETWEEN_FIELDS.search(said) is not None
