"""What a replay has done so far and what its checks have found, as one set of counts for all its days. Pure."""

import msgspec

from posthouse.testing.history import BREACHES_MAX, Breach, Verdict


class Report(msgspec.Struct, kw_only=True):
    """`messages`, `acked` count messages, `deliveries` entries of every kind. `days` are those that are over.

    `lost`, `duplicated`, `reordered`, `contradicted`, `unanswered` and `breaches`: see
    `posthouse.testing.history.Verdict`, which is formed when a day is over.
    """

    days: int = 0
    clients: int = 0
    messages: int = 0
    acked: int = 0
    actions: int = 0
    joins: int = 0
    leaves: int = 0
    deliveries: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    contradicted: int = 0
    unanswered: int = 0
    seconds: float = 0.0
    messages_per_s: float = 0.0
    breaches: list[Breach] = []

    def judge(self, verdict: Verdict) -> None:
        """A day is over, and this is what was found."""
        self.days += 1
        self.deliveries += verdict.deliveries
        self.lost += verdict.lost
        self.duplicated += verdict.duplicated
        self.reordered += verdict.reordered
        self.contradicted += verdict.contradicted
        self.unanswered += verdict.unanswered
        self.breaches = [*self.breaches, *verdict.breaches][:BREACHES_MAX]

    def finish(self, seconds: float, clients: int) -> None:
        """All is over."""
        self.seconds = round(seconds, 3)
        self.messages_per_s = round(self.acked / seconds, 1) if seconds else 0.0
        self.clients = clients

    @property
    def holds(self) -> bool:
        """True when every message was acknowledged and no promise is broken."""
        broken = self.lost + self.duplicated + self.reordered + self.contradicted + self.unanswered
        return not broken and self.acked == self.messages
