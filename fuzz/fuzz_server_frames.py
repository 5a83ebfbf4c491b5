"""Fuzzes what a client decodes of servers: a frame that survives encoding, None, or `BadFrame`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from fuzz.seeds import JSON_WORDS, server_messages
from posthouse.protocol.codec import BadFrame, decode_server, encode


def check(data: bytes) -> None:
    try:
        frame = decode_server(data)
    except BadFrame:
        return
    if frame is not None:
        again = encode(frame)
        assert decode_server(again) == frame, f"{frame} comes back as {decode_server(again)}"


FUZZER = Fuzzer("server_frames", check, ("posthouse.protocol.codec",), server_messages(), JSON_WORDS)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
