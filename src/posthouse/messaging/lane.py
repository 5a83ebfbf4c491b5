"""A lane keeps one session's order across refusals (G3): a send refused for now holds back its successors. Pure.

Sends are numbered as they enter. A hold covers what entered after the refused send and before its repetition; what
entered earlier, and what follows the repetition, goes on. Only the same conversation of the same session is held.
"""

from typing import NamedTuple

from posthouse.protocol.codes import Action, Code, action_of


class _Hold(NamedTuple):
    """`refused` and `repeated` are the numbers of the refused send and of its repetition, 0 until that has entered."""

    client_id: str
    refused: int
    repeated: int = 0


class Lane:
    """What one session holds back, by conversation."""

    __slots__ = ("_held", "_last")

    def __init__(self) -> None:
        self._held: dict[str, _Hold] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._held)

    def enter(self, conv: str, client_id: str) -> int:
        """A send arrives: its number, or 0 when it is held back."""
        hold = self._held.get(conv) if self._held else None
        if hold is not None and not hold.repeated and client_id != hold.client_id:
            return 0
        self._last += 1
        if hold is not None and not hold.repeated:
            self._held[conv] = hold._replace(repeated=self._last)
        return self._last

    def admits(self, conv: str, number: int) -> bool:
        """May this send be committed now? Asked when its batch is formed, after all earlier outcomes were noted."""
        hold = self._held.get(conv) if self._held else None
        return hold is None or number <= hold.refused or 0 < hold.repeated <= number

    def refused(self, conv: str, client_id: str, number: int, code: Code) -> None:
        """A send was refused: for now, it holds back its successors; for good, it is settled."""
        if action_of(code) is not Action.RETRY:
            self.settled(conv, number)
            return
        hold = self._held.get(conv)
        if hold is None or number == hold.repeated or number < hold.refused:
            self._held[conv] = _Hold(client_id, number)

    def settled(self, conv: str, number: int) -> None:
        """A send is in the log, or never will be."""
        if self._held and (hold := self._held.get(conv)) is not None and hold.repeated == number:
            del self._held[conv]
