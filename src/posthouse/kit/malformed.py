"""What reading bytes of others may raise.

The decoder has an error of its own, but text that is no UTF-8 and values nested too deep come as Python's.
"""

from typing import Final

import msgspec

MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that a decoder raises for bytes that are not what they should be; whoever catches one means all."""
