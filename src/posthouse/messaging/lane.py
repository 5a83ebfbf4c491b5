"""A lane keeps one session's order across refusals (G3): a send refused for now holds back its successors. Pure.

Only sends of the same session to the same conversation are held, and only until the same `client_id` is settled.
"""

from posthouse.protocol.codes import Action, Code, action_of


class Lane:
    """What one session holds back, by conversation."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._held)

    def admits(self, conv: str, client_id: str) -> bool:
        """May this send go ahead now? Asked when it arrives and again when its batch is formed."""
        return not self._held or self._held.get(conv, client_id) == client_id

    def refused(self, conv: str, client_id: str, code: Code) -> None:
        """A send was refused: for now, it holds back its successors; for good, it is settled."""
        if action_of(code) is Action.RETRY:
            self._held.setdefault(conv, client_id)
        else:
            self.settled(conv, client_id)

    def settled(self, conv: str, client_id: str) -> None:
        """A send is in the log, or never will be."""
        if self._held and self._held.get(conv) == client_id:
            del self._held[conv]
