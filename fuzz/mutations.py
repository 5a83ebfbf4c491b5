"""How one input is made from others: a few small changes, each as likely to keep a parser going as to stop it.

Pure functions of a random generator that the caller seeds.
"""

from collections.abc import Callable, Sequence
from random import Random

CHANGES_MAX = 6
REPEATS_MAX = 5_000
EXTREMES = [b"0", b"-1", b"1", b"255", b"256", b"65535", b"65536", b"2147483648", b"4294967296", b"9007199254740991",
            b"9007199254740992", b"18446744073709551616", b"1e308", b"1e999", b"-0.0", b"9" * 400]  # fmt: skip

Change = Callable[[Random, bytes, Sequence[bytes], Sequence[bytes]], bytes]


def mutated(rng: Random, known: Sequence[bytes], words: Sequence[bytes], size_max: int) -> bytes:
    """One of the known inputs after a few changes, cut to `size_max`."""
    data = rng.choice(known)
    for _ in range(rng.randint(1, CHANGES_MAX)):
        data = rng.choice(CHANGES)(rng, data, known, words)[:size_max]
    return data


def _place(rng: Random, data: bytes) -> int:
    return rng.randint(0, len(data))


def _stretch(rng: Random, data: bytes) -> tuple[int, int]:
    """A part of the data, mostly a short one."""
    begin = _place(rng, data)
    size = rng.choice((1, 2, 4, 8, 16, 64, 1024))
    return begin, min(len(data), begin + rng.randint(0, size))


def _flip_bit(rng: Random, data: bytes, known: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    if not data:
        return b"\x00"
    at = rng.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]


def _set_byte(rng: Random, data: bytes, known: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    at = _place(rng, data)
    return (
        data[:at]
        + bytes((rng.choice((0, 0x7F, 0x80, 0xFF, 0x22, 0x5C, rng.randrange(256))),))
        + data[at + 1 :]
    )


def _delete(rng: Random, data: bytes, known: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    begin, end = _stretch(rng, data)
    return data[:begin] + data[end:]


def _repeat(rng: Random, data: bytes, known: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    begin, end = _stretch(rng, data)
    times = rng.choice((1, 2, 3, 20, 300, REPEATS_MAX))
    return data[:begin] + data[begin:end] * times + data[end:]


def _insert_word(rng: Random, data: bytes, known: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    at = _place(rng, data)
    return data[:at] + rng.choice(words or EXTREMES) + data[at:]


def _repeat_word(rng: Random, data: bytes, known: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    at = _place(rng, data)
    return data[:at] + rng.choice(words or EXTREMES) * rng.choice((2, 30, 500, REPEATS_MAX)) + data[at:]


def _swap_in(rng: Random, data: bytes, known: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A part is replaced by a word."""
    begin, end = _stretch(rng, data)
    return data[:begin] + rng.choice(words or EXTREMES) + data[end:]


def _change_number(rng: Random, data: bytes, known: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    digits = [at for at, byte in enumerate(data) if 0x30 <= byte <= 0x39]
    if not digits:
        return data
    begin = end = rng.choice(digits)
    while end < len(data) and 0x30 <= data[end] <= 0x39:
        end += 1
    return data[:begin] + rng.choice(EXTREMES) + data[end:]


def _splice(rng: Random, data: bytes, known: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """The beginning of this input and the end of another."""
    other = rng.choice(known)
    return data[: _place(rng, data)] + other[_place(rng, other) :]


def _cut(rng: Random, data: bytes, known: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    return data[: _place(rng, data)]


def _noise(rng: Random, data: bytes, known: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    at = _place(rng, data)
    return data[:at] + rng.randbytes(rng.choice((1, 4, 40))) + data[at:]


CHANGES: tuple[Change, ...] = (
    _flip_bit, _set_byte, _delete, _repeat, _insert_word, _repeat_word, _swap_in, _change_number, _splice, _cut, _noise,
)  # fmt: skip
