"""Bytes that went wrong into the Python side of the link: ``python -m benchmarks.link_fuzz --megabytes 10``.

Valid frames of every type, some of their bytes changed, some pieces missing or twice, and chance in between: nothing
may be raised. The C side has libFuzzer (``make -C firmware_bridge fuzz``).
"""

from __future__ import annotations

import argparse
from concurrent.futures import Future

import numpy as np

from firmware_bridge.vectors.generate import messages
from hearable import SpeakerProfile, load_model
from hearable.chunks import Audio
from hearable.link.device import Device
from hearable.link.frames import encode_frame
from hearable.link.host import Host
from hearable.link.messages import CHUNK_SAMPLES, pack
from hearable.live.processor import LiveProcessor


def damaged(frames: list[bytes], rng: np.random.Generator) -> bytes:
    data = bytearray(b"".join(frames[n] for n in rng.integers(0, len(frames), 6)))
    for at in rng.integers(0, len(data), rng.integers(0, 6)):
        data[at] = rng.integers(0, 256)
    begin, end = sorted(rng.integers(0, len(data), 2))
    piece = bytes(data[begin:end])
    return [bytes(data), bytes(data) + piece, piece, rng.bytes(600) + bytes(data)][rng.integers(0, 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="base")
    parser.add_argument("--megabytes", type=float, default=10)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    frames = [encode_frame(pack(message, n)) for n, message in enumerate(messages())]
    host, device = Host(LiveProcessor(load_model(options.model)), bytes(8), CHUNK_SAMPLES, enroll), Device()
    silence = np.zeros((2, CHUNK_SAMPLES), np.int16)
    given = sent = 0
    while given < 1e6 * options.megabytes:
        data = damaged(frames, rng)
        host.receive(data)
        device.receive(data)
        sent += len(device.chunk(silence)[1])
        given += len(data)
    chunks = host.processor.meters().chunks
    print(f"{given} bytes, {host.status().damaged} damaged frames; {chunks} chunks were processed, {sent} bytes sent")


def enroll(clip: Audio) -> Future[SpeakerProfile]:
    return Future()


if __name__ == "__main__":
    main()
