"""Decides from what clients sent, were told and saw whether G1 to G4 held, and names the entries that break them. Pure.

A `History` is one log. Deliveries are compared as they come and not kept: memory grows with the log, not with its
readers, so that dozens of millions of deliveries can be judged; a finished log's verdict is added to the others'.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from posthouse.messaging.bodies import users_of
from posthouse.model.entry import CREATED, CUSTOM_PREFIX, MEMBER_JOINED, MEMBER_LEFT, MESSAGE, Entry
from posthouse.model.ids import INTEGER_MAX

BREACHES_MAX: Final = 20
"""Breaches of one log that are named; beyond, they are only counted."""

Device = tuple[str, str]
"""A user and one of their devices."""


class Breach(NamedTuple):
    """One broken promise: which (`G1` … `G4`), at which entry (`seq` 0: one that has no number), and how."""

    promise: str
    conv: str
    seq: int
    reason: str


class Verdict(NamedTuple):
    """What was counted. `lost`, `duplicated`, `reordered` count sends in the log and deliveries to readers alike.

    `contradicted` is everything else that breaks a promise: readers or acks that disagree, numbers with gaps, entries
    that nobody sent, that say something else than was sent, that were refused, or that came back. `unanswered` sends
    are no breach: nothing was promised.
    """

    sent: int = 0
    acked: int = 0
    unanswered: int = 0
    deliveries: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    contradicted: int = 0
    breaches: tuple[Breach, ...] = ()

    @property
    def holds(self) -> bool:
        """True when no promise is broken."""
        return not (self.lost or self.duplicated or self.reordered or self.contradicted)

    def plus(self, other: "Verdict") -> "Verdict":
        """Both together."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in self._fields[:-1]}
        return Verdict(**counts, breaches=(self.breaches + other.breaches)[:BREACHES_MAX])


class Reader:
    """One device's stream of the log. It must hold, in order, every entry that its user may see, and no other."""

    __slots__ = ("_gaps", "_history", "_next", "_restart_below", "deliveries", "name", "user")

    def __init__(self, history: "History", name: str, user: str) -> None:
        self.name = name
        self.user = user
        self.deliveries = 0
        self._history = history
        self._next = 1
        self._gaps: list[range] = []
        self._restart_below = 0

    def __repr__(self) -> str:
        return f"<Reader {self.name} next={self._next} gaps={self._gaps}>"

    def see(self, entry: Entry) -> None:
        """The device was given `entry`."""
        self.deliveries += 1
        seq = entry.seq
        if seq == self._next:
            self._next = seq + 1
        else:
            self._see_out_of_step(seq)
        known = self._history._entries.setdefault(seq, entry)
        if known is entry or known != entry:  # else, as nearly always, there is nothing to say
            self._history.compare(entry, self.name)

    def missing(self, spans: Sequence[range]) -> list[int]:
        """The numbers within `spans` that the device was not given."""
        last = max((span.stop for span in spans), default=0)
        return _common([*self._gaps, range(self._next, last)], spans)

    def surplus(self, spans: Sequence[range]) -> list[int]:
        """The numbers outside `spans` that the device was given."""
        return _common(_between(self._gaps, self._next), _between(spans, self._next))

    def restart(self, head: int) -> None:
        """The log went back to `head`: the device may read afresh from any entry up to there."""
        self._next = min(self._next, head + 1)
        self._gaps = [
            range(gap.start, min(gap.stop, self._next)) for gap in self._gaps if gap.start < self._next
        ]
        self._restart_below = self._next

    def _see_out_of_step(self, seq: int) -> None:
        if seq < self._restart_below:
            self._gaps = [range(gap.start, min(gap.stop, seq)) for gap in self._gaps if gap.start < seq]
            self._next, self._restart_below = seq + 1, 0
        elif seq > self._next:
            self._gaps.append(range(self._next, seq))
            self._next = seq + 1
        elif self._fills_gap(seq):
            self._history.count("reordered", "G3", seq, f"{self.name} saw it after later entries")
        else:
            self._history.count("duplicated", "G3", seq, f"{self.name} saw it again")

    def _fills_gap(self, seq: int) -> bool:
        for at, gap in enumerate(self._gaps):
            if seq in gap:
                parts = (range(gap.start, seq), range(seq + 1, gap.stop))
                self._gaps[at : at + 1] = [part for part in parts if part]
                return True
        return False


class _Sent:
    """One send: its place among its device's sends, its body if that is known, and what its device was told."""

    __slots__ = ("body", "order", "refused", "seq")

    def __init__(self, order: int, body: bytes | None) -> None:
        self.order = order
        self.body = body
        self.seq = 0
        self.refused = False


class History:
    """What happened around one log, told as it happens; `check` judges it against the log as it was read at the end.

    `shows_all`: newcomers see what lies before their own joining, as in channels. `knows_all`: every device's sends are
    told here, so that what a device says that told of none was sent by nobody; else such a device is not followed.
    """

    def __init__(self, conv: str, *, shows_all: bool = False, knows_all: bool = False) -> None:
        self.conv = conv
        self._shows_all = shows_all
        self._knows_all = knows_all
        self._readers: list[Reader] = []
        self._entries: dict[int, Entry] = {}
        self._sends: dict[Device, dict[str, _Sent]] = {}
        self._void: set[tuple[str, str, str]] = set()
        self._counts = {"lost": 0, "duplicated": 0, "reordered": 0, "contradicted": 0}
        self._breaches: list[Breach] = []

    # What is told

    def sent(self, device: Device, client_id: str, body: bytes | None = None) -> None:
        """`device` made this send, after all those told of before. Repeating it, as a retry does, tells nothing new.

        `body`, the JSON that was sent, is kept and must be what the log holds; without it that is not looked at.
        """
        sends = self._sends.setdefault(device, {})
        sends.setdefault(client_id, _Sent(len(sends), body))

    def acked(self, device: Device, client_id: str, seq: int) -> None:
        """`device` was told that its send is entry `seq`."""
        sent = self._sends[device][client_id]
        if sent.seq not in (0, seq):
            self.count(
                "contradicted", "G2", seq, f"{client_id} of {device} was acknowledged as {sent.seq} before"
            )
        sent.seq = sent.seq or seq

    def refused(self, device: Device, client_id: str) -> None:
        """`device` was told that its send is not in the log and never will be."""
        self._sends[device][client_id].refused = True

    def reader(self, name: str, user: str) -> Reader:
        """A device of `user` begins to read. The log itself will say what the user may see."""
        reader = Reader(self, name, user)
        self._readers.append(reader)
        return reader

    def reset(self, head: int) -> None:
        """A new epoch: the log went back to `head`, acknowledged or not; what stood beyond must never come back."""
        for device, sends in self._sends.items():
            self._void |= {(*device, client_id) for client_id, sent in sends.items() if sent.seq > head}
            self._sends[device] = {client_id: sent for client_id, sent in sends.items() if sent.seq <= head}
        self._entries = {seq: entry for seq, entry in self._entries.items() if seq <= head}
        for reader in self._readers:
            reader.restart(head)

    # What is found

    @property
    def deliveries(self) -> int:
        """How many entries all readers have been given."""
        return sum(reader.deliveries for reader in self._readers)

    def lagging(self, log: Sequence[Entry]) -> list[Reader]:
        """The readers that have not been given everything yet."""
        spans = visible(log, shows_all=self._shows_all)
        return [reader for reader in self._readers if reader.missing(spans.get(reader.user, ()))]

    def check(self, log: Iterable[Entry]) -> Verdict:
        """Judge everything against the whole log, read in the order of its numbers from 1. Ends the history."""
        log = list(log)
        head = self._check_entries(log)
        self._check_what_only_readers_saw(head)
        acked = self._check_acks()
        self._check_readers(visible(log, shows_all=self._shows_all))
        sends = [sent for sends in self._sends.values() for sent in sends.values()]
        return Verdict(
            sent=len(sends),
            acked=acked,
            unanswered=sum(not sent.seq and not sent.refused for sent in sends),
            deliveries=self.deliveries,
            **self._counts,
            breaches=tuple(sorted(self._breaches, key=lambda breach: breach.seq)),
        )

    def compare(self, entry: Entry, who: str) -> None:
        """All who see a number see the same entry under it."""
        known = self._entries.setdefault(entry.seq, entry)
        if known is entry:
            if self._void and _name(entry) in self._void:
                self.count(
                    "contradicted", "G1", entry.seq, f"{who} saw it come back from before the log's reset"
                )
        elif known != entry:
            self.count(
                "contradicted",
                "G3",
                entry.seq,
                f"{who} saw another entry under this number: {entry}, not {known}",
            )

    def count(self, what: str, promise: str, seq: int, reason: str) -> None:
        """A promise is broken at entry `seq`."""
        self._counts[what] += 1
        if len(self._breaches) < BREACHES_MAX:
            self._breaches.append(Breach(promise, self.conv, seq, reason))

    def _check_entries(self, log: Iterable[Entry]) -> int:
        """Numbers without gaps, nobody's send twice, each device's in its order. Returns the head."""
        head = 0
        last: dict[Device, int] = {}
        found: dict[tuple[str, str, str], int] = {}
        for entry in log:
            if entry.seq != head + 1:
                self.count("contradicted", "G3", entry.seq, f"follows {head} in the log")
            head = entry.seq
            self.compare(entry, "the log")
            device = (entry.sender, entry.device)
            if device in self._sends or (self._knows_all and _is_said_by_device(entry)):
                self._check_send(entry, device, last, found)
        return head

    def _check_send(
        self, entry: Entry, device: Device, last: dict[Device, int], found: dict[tuple[str, str, str], int]
    ) -> None:
        first = found.setdefault(_name(entry), entry.seq)
        sent = self._sends.get(device, {}).get(entry.client_id)
        if sent is None:
            self.count("contradicted", "G2", entry.seq, f"{device} never sent {entry.client_id}")
        elif first != entry.seq:
            self.count(
                "duplicated", "G2", entry.seq, f"{entry.client_id} of {device} is entry {first} already"
            )
        elif sent.refused:
            self.count("contradicted", "G2", entry.seq, f"{entry.client_id} of {device} was refused")
        elif sent.body is not None and sent.body != bytes(entry.body):
            words = f"{device} sent {sent.body!r} as {entry.client_id}, and not {bytes(entry.body)!r}"
            self.count("contradicted", "G2", entry.seq, words)
        elif sent.order < last.get(device, -1):
            self.count(
                "reordered", "G3", entry.seq, f"{device} sent {entry.client_id} before what stands before it"
            )
        else:
            last[device] = sent.order

    def _check_readers(self, spans: Mapping[str, Sequence[range]]) -> None:
        for reader in self._readers:
            of_user = spans.get(reader.user, ())
            for seq in reader.missing(of_user):
                self.count("lost", "G4", seq, f"{reader.name} never saw it")
            for seq in reader.surplus(of_user):
                self.count("contradicted", "G4", seq, f"{reader.name} saw it and may not")

    def _check_what_only_readers_saw(self, head: int) -> None:
        for seq in sorted(seq for seq in self._entries if seq > head):
            self.count("contradicted", "G1", seq, f"was seen, and the log ends at {head}")

    def _check_acks(self) -> int:
        """Each acknowledged send stands in the log where its device was told. Returns how many were acknowledged."""
        acked = 0
        for device, sends in self._sends.items():
            for client_id, sent in sends.items():
                entry = self._entries.get(sent.seq)
                acked += sent.seq > 0
                if sent.seq and (entry is None or _name(entry) != (*device, client_id)):
                    self.count(
                        "lost", "G1", sent.seq, f"{client_id} of {device} was acknowledged and is not there"
                    )
        return acked


def visible(log: Iterable[Entry], *, shows_all: bool = False) -> dict[str, list[range]]:
    """Which numbers each user may see, by what the log itself says of who joined and left when."""
    spans: dict[str, list[range]] = {}
    head = 0
    for entry in log:
        head = entry.seq
        if entry.kind in (CREATED, MEMBER_JOINED):
            for user in users_of(entry):
                spans.setdefault(user, []).append(range(1 if shows_all else head, INTEGER_MAX))
        elif entry.kind == MEMBER_LEFT:
            for user in users_of(entry):
                spans[user][-1] = range(spans[user][-1].start, head + 1)
    return {
        user: [range(span.start, min(span.stop, head + 1)) for span in own] for user, own in spans.items()
    }


def _between(ranges: Sequence[range], stop: int) -> list[range]:
    """The numbers from 1 up to `stop` that are in none of `ranges`, which are rising."""
    starts = [1, *(each.stop for each in ranges)]
    stops = [*(each.start for each in ranges), stop]
    return [range(start, min(end, stop)) for start, end in zip(starts, stops, strict=True)]


def _common(these: Sequence[range], those: Sequence[range]) -> list[int]:
    """The numbers that are in one of `these` and in one of `those`."""
    overlaps = (range(max(a.start, b.start), min(a.stop, b.stop)) for a in these for b in those)
    return sorted({number for overlap in overlaps for number in overlap})


def _is_said_by_device(entry: Entry) -> bool:
    """Back ends have no device, and the other kinds are the server's."""
    return bool(entry.device) and (entry.kind == MESSAGE or entry.kind.startswith(CUSTOM_PREFIX))


def _name(entry: Entry) -> tuple[str, str, str]:
    """What names a send for ever (G2), within its log."""
    return entry.sender, entry.device, entry.client_id
