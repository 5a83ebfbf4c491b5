"""Tables of Markdown."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: int | None = None) -> str:
    """Columns from number `right` on hold figures, and stand to the right."""
    first = len(head) if right is None else right
    rule = ["---" if number < first else "--:" for number in range(len(head))]
    return "\n".join([_line(head), f"|{'|'.join(rule)}|", *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
