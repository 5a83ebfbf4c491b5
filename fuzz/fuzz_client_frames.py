"""Fuzzes what a server decodes of clients: a frame, which survives encoding, or `BadFrame`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from fuzz.seeds import JSON_WORDS, client_messages
from posthouse.protocol.codec import BadFrame, decode_client, encode


def check(data: bytes) -> None:
    try:
        frame = decode_client(data)
    except BadFrame:
        return
    again = encode(frame)
    assert decode_client(again) == frame, f"{frame} comes back as {decode_client(again)}"


FUZZER = Fuzzer("client_frames", check, ("posthouse.protocol.codec",), client_messages(), JSON_WORDS)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
