"""The loop that all fuzzers share: changes known inputs, gives them to a parser, and keeps the one that breaks it.

A fuzzer's `check` takes an input and raises when there is a defect: any error but the documented one, a result that
is not as promised. The loop adds two of its own: an input that takes too long, and one that takes too much memory.
The same seed makes the same inputs; an input that broke something is saved in the corpus and is a test from then on,
and so are the inputs that `--grow` (fuzz/growth.py) found worth keeping.
"""

import argparse
import hashlib
import sys
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz.mutations import mutated

CORPUS = Path(__file__).resolve().parent / "corpus"
CPU_S_MAX = 2.0
"""Far more than any input of `size_max` takes; one that takes more was found by a sampler, not by luck."""
MEMORY_BYTES_MAX = 32 << 20
MEMORY_EVERY = 100
"""Memory is measured for each input of this number: measuring makes everything slower."""
PROGRESS_S = 10.0


class Defect(Exception):
    """The parser did what it promises not to do."""


@dataclass(frozen=True)
class Fuzzer:
    """One parser under test: the code of `modules`, by the beginnings of their names. `seeds` are inputs worth
    changing, `words` what is worth inserting into them; `cost` is how many inputs of others one of these is worth."""

    name: str
    check: Callable[[bytes], None]
    modules: tuple[str, ...]
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()
    size_max: int = 70_000
    cost: int = 1

    def corpus(self) -> list[Path]:
        """The saved inputs, in the order of their names."""
        return sorted(path for path in (CORPUS / self.name).glob("*") if path.is_file())

    def known(self) -> list[bytes]:
        """Seeds and corpus."""
        return [*self.seeds, *(path.read_bytes() for path in self.corpus())]

    def inputs(self, seed: int, known: Sequence[bytes] | None = None) -> Iterator[bytes]:
        """What is known as it is, then changed ones for ever, also of what is added to `known` meanwhile."""
        known = self.known() if known is None else known
        yield from list(known)
        rng = Random(f"{self.name} {seed}")
        while True:
            yield mutated(rng, known, self.words, self.size_max)

    def try_input(self, data: bytes, *, with_memory: bool = False) -> None:
        """Raises `Defect` from whatever went wrong."""
        began = time.process_time()
        try:
            peak = _peak_of(self.check, data) if with_memory else _no_peak_of(self.check, data)
        except Exception as error:
            raise Defect(f"{type(error).__name__}: {error}") from error
        spent_s = time.process_time() - began
        if spent_s > CPU_S_MAX:
            raise Defect(f"{len(data)} bytes took {spent_s:.1f} s of CPU")
        if peak > MEMORY_BYTES_MAX:
            raise Defect(f"{len(data)} bytes took {peak >> 20} MiB of memory")

    def run(self, seed: int, inputs_max: int, until: Callable[[], bool]) -> int:
        """Try inputs until enough were tried or `until` says so; returns how many. Raises `Broken`."""
        tried = 0
        for data in self.inputs(seed):
            if tried >= inputs_max or until():
                break
            try:
                self.try_input(data, with_memory=tried % MEMORY_EVERY == 0)
            except Defect as defect:
                raise Broken(data, tried) from defect
            tried += 1
        return tried

    def save(self, data: bytes) -> Path:
        """Keep an input that broke something."""
        path = CORPUS / self.name / f"broke-{hashlib.sha256(data).hexdigest()[:12]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


class Broken(Exception):
    """An input that shows a defect, and the number of inputs before it."""

    def __init__(self, data: bytes, tried: int) -> None:
        super().__init__(f"input {tried}, {len(data)} bytes: {data[:200]!r}")
        self.data = data


def _peak_of(check: Callable[[bytes], None], data: bytes) -> int:
    tracemalloc.start()
    try:
        check(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _no_peak_of(check: Callable[[bytes], None], data: bytes) -> int:
    check(data)
    return 0


def main(fuzzer: Fuzzer) -> int:
    """The program: fuzz for a while, or replay files. Exit code 1 when something broke."""
    options = _options(fuzzer)
    if options.replay:
        return max(_replay(fuzzer, path) for path in options.replay)
    seed = options.seed if options.seed is not None else time.time_ns() % 1_000_000
    began = time.monotonic()
    run = _grow if options.grow else Fuzzer.run
    try:
        tried = run(fuzzer, seed, options.inputs, lambda: time.monotonic() - began > options.seconds)
    except Broken as broken:
        path = fuzzer.save(broken.data)
        traceback.print_exception(broken.__cause__)
        print(f"{fuzzer.name}: broken with --seed {seed}: {broken}\nsaved; replay it with --replay {path}")
        return 1
    elapsed_s = time.monotonic() - began
    did = "are the corpus, after" if options.grow else "in"
    print(f"{fuzzer.name}: {tried} inputs {did} {elapsed_s:.1f} s with --seed {seed}, none broke it")
    return 0


def _options(fuzzer: Fuzzer) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=f"Fuzzes {fuzzer.name}.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on")
    parser.add_argument("--seed", type=int, help="makes the same inputs again")
    parser.add_argument("--inputs", type=int, default=sys.maxsize, help="how many to try at most")
    parser.add_argument(
        "--grow", action="store_true", help="save what reaches new code, and no more than that"
    )
    parser.add_argument("--replay", type=Path, nargs="+", help="try these files instead")
    return parser.parse_args()


def _grow(fuzzer: Fuzzer, seed: int, inputs_max: int, until: Callable[[], bool]) -> int:
    from fuzz import growth

    return len(growth.save(fuzzer, growth.grown(fuzzer, seed, inputs_max, until)))


def _replay(fuzzer: Fuzzer, path: Path) -> int:
    try:
        fuzzer.try_input(path.read_bytes(), with_memory=True)
    except Defect as defect:
        traceback.print_exception(defect)
        return 1
    print(f"{path}: fine")
    return 0
