"""Whether hints can be trusted to reach this gateway. While they cannot, it asks the feed itself. Pure.

Several sources each say whether they are well: the subscription to the bus, the routes, the register of nodes. Hints
are trusted again only some time after the last of them has recovered: until then others may not know of this gateway.
"""

from collections.abc import Callable, Sequence

SETTLE_S = 3.0
"""Others read the register each second; a second more for one that is late, and one for what was under way."""


class Hearing:
    """Begins in doubt about each of its sources. `monotonic` is the node's own clock. `on_doubt` is called with every
    doubt, `on_change` with a sentence when trust ends or comes back."""

    def __init__(self, sources: Sequence[str], monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._doubts = dict.fromkeys(sources, "it has not begun")
        self._well_since = 0.0
        self.on_doubt: Callable[[], None] = lambda: None
        self.on_change: Callable[[str], None] = lambda sentence: None
        self.outages = 0

    @property
    def trusted(self) -> bool:
        """True when whatever concerns this gateway reaches it by itself."""
        return not self._doubts and self._monotonic() - self._well_since >= SETTLE_S

    def trusted_but_for(self, kind: str) -> bool:
        """True when at most sources of this kind (their names begin with it) are in doubt: whoever would mend that
        must not wait for it, nor for others who wait for each other."""
        settled = self._monotonic() - self._well_since >= SETTLE_S
        return settled and all(each.startswith(kind) for each in self._doubts)

    @property
    def why(self) -> str:
        """One sentence."""
        if self._doubts:
            return "; ".join(f"{source}: {reason}" for source, reason in sorted(self._doubts.items()))
        return (
            "hints reach this gateway"
            if self.trusted
            else "hints reach this gateway again since a moment ago"
        )

    def doubt(self, source: str, reason: str) -> None:
        """Hints may have been lost, and may be lost from now on."""
        was_well = not self._doubts
        self._doubts[source] = reason
        if was_well:
            self.outages += 1
            self.on_change(f"hints cannot be trusted, the databases are asked instead: {self.why}")
        self.on_doubt()

    def trust(self, source: str) -> None:
        """The source is well."""
        if self._doubts.pop(source, None) is not None and not self._doubts:
            self._well_since = self._monotonic()
            self.on_change("hints reach this gateway again, and will be trusted in a moment")

    def missed(self) -> None:
        """Hints may have been lost up to now, though all is well again."""
        self._well_since = self._monotonic()
        self.outages += 1
        self.on_doubt()
