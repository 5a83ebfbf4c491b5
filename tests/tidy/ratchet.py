"""The ratchet: known exceptions to the rules, each with its size. The list only shrinks.

A listed place may be as large as listed and no larger; when it shrinks or is gone, the list must follow.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.tidy.rules import Finding

FILE = "tests/tidy/ratchet.toml"


@dataclass(frozen=True)
class Exemption:
    """A known exception: where, how large at most, and why it is there."""

    rule: str
    place: str
    size: int
    why: str


def read(text: str) -> list[Exemption]:
    """The `[[exemption]]` tables of ratchet.toml; an unknown or missing key is a `TypeError`."""
    return [Exemption(**table) for table in tomllib.loads(text).get("exemption", [])]


def complaints(findings: Iterable[Finding], exemptions: list[Exemption]) -> Iterator[str]:
    """What is wrong after the list is taken into account: one line each, ready to be printed."""
    found = _by_place(findings)
    listed = {(each.rule, each.place): each for each in exemptions}
    for key, breaches in found.items():
        if key not in listed:
            yield from (_describe(breach) for breach in breaches)
    for key, exemption in listed.items():
        yield from _compare(exemption, found.get(key, []))


def _by_place(findings: Iterable[Finding]) -> dict[tuple[str, str], list[Finding]]:
    found: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        found[finding.rule, finding.place].append(finding)
    return found


def _compare(exemption: Exemption, breaches: list[Finding]) -> Iterator[str]:
    size = sum(breach.size for breach in breaches)
    where = f"{exemption.place}: [{exemption.rule}]"
    if size == 0:
        yield f"{where} keeps the rule now: delete its entry from {FILE}"
    elif size < exemption.size:
        yield f"{where} shrank from {exemption.size} to {size}: write `size = {size}` in {FILE}, so that it stays so"
    elif size > exemption.size:
        yield f"{where} grew from {exemption.size} to {size}; the list only shrinks:"
        yield from (f"  {_describe(breach)}" for breach in breaches)


def _describe(breach: Finding) -> str:
    return f"{breach.place.partition(':')[0]}:{breach.line}: [{breach.rule}] {breach.message}"
