"""A lane keeps one session's order across refusals (G3): a send refused for now holds back its successors. Pure.

Sends are numbered as they enter. What entered after a refused send and before its repetition is barred for good: it is
repeated as well. What entered earlier, and what follows the repetition, goes on; a second refusal then adds to the
first. Only the same conversation of the same session is held.
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

    __slots__ = ("_barred", "_held", "_last")

    def __init__(self) -> None:
        self._held: dict[str, _Hold] = {}
        self._barred: dict[str, list[tuple[int, int]]] = {}
        self._last = 0

    def __len__(self) -> int:
        """How much is kept: conversations that are held, or stretches that are barred, whichever are more."""
        return max(len(self._held), sum(map(len, self._barred.values())))

    def enter(self, conv: str, client_id: str) -> int:
        """A send arrives: its number, or 0 when it is held back."""
        hold = self._held.get(conv) if self._held else None
        if hold is not None and not hold.repeated and client_id != hold.client_id:
            return 0
        self._last += 1
        if hold is not None and not hold.repeated:
            self._held[conv] = hold._replace(repeated=self._last)
            self._bar(conv, hold.refused, self._last)
        return self._last

    def admits(self, conv: str, number: int) -> bool:
        """May this send be committed now? Asked when its batch is formed, after all earlier outcomes were noted."""
        if self._barred and any(after < number < before for after, before in self._barred.get(conv, ())):
            return False
        hold = self._held.get(conv) if self._held else None
        return hold is None or hold.repeated > 0 or number <= hold.refused

    def refused(self, conv: str, client_id: str, number: int, code: Code) -> None:
        """A send had its turn and was refused: for now, it holds back its successors; for good, it is settled."""
        if action_of(code) is not Action.RETRY:
            self.settled(conv, number)
            return
        hold = self._held.get(conv)
        if hold is None or ((hold.repeated or number < hold.refused) and self.admits(conv, number)):
            self._held[conv] = _Hold(client_id, number)

    def turned_away(self, conv: str, client_id: str, number: int, code: Code) -> None:
        """A send was refused before its turn. For good, it is settled too, but what entered before it may still wait:
        that stays barred."""
        if action_of(code) is Action.RETRY:
            self.refused(conv, client_id, number, code)
        else:
            self._end_hold(conv, number)

    def settled(self, conv: str, number: int) -> None:
        """A send is in the log. Whatever entered before it has been dealt with."""
        if self._held:
            self._end_hold(conv, number)
        if self._barred and conv in self._barred:
            left = [span for span in self._barred[conv] if span[1] > number]
            if left:
                self._barred[conv] = left
            else:
                del self._barred[conv]

    def _end_hold(self, conv: str, number: int) -> None:
        hold = self._held.get(conv)
        if hold is not None and hold.repeated == number:
            del self._held[conv]

    def _bar(self, conv: str, after: int, before: int) -> None:
        """Nothing that entered between these two may be committed. A repetition refused in its turn widens the span."""
        spans = self._barred.setdefault(conv, [])
        if spans and spans[-1][1] == after:
            after = spans.pop()[0]
        spans.append((after, before))
