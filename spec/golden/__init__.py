"""Golden vectors: examples with their meaning that any implementation of the protocol can test itself against.

Each module makes one file of spec/vectors/. What is expected is either written down here, as the specification
wants it, or computed by the code; the tests in tests/spec/ hold the code to both.
"""

from collections.abc import Callable

from spec.golden import bodies, codes, frames, ids, invalid, timelines, tokens

VECTORS: dict[str, Callable[[], object]] = {
    "frames": frames.document,
    "invalid_frames": invalid.document,
    "bodies": bodies.document,
    "ids": ids.document,
    "codes": codes.document,
    "tokens": tokens.document,
    "timelines": timelines.document,
}
