"""A simulated device in real time: a recording is its microphones, and its link is as bad as one likes."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hearable.link.channel import Channel, Impairments
from hearable.link.device import Device
from hearable.link.messages import CHUNK_SAMPLES, RATE, Samples
from hearable.link.transports import MAX_READ_BYTES, Transport


class PseudoTerminal:
    """A serial line without hardware.

    Attributes:
        path: what the host opens.
    """

    def __init__(self) -> None:
        import pty  # not on every system
        import tty

        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.path = os.ttyname(self._theirs)

    def receive(self, timeout_s: float) -> list[bytes]:
        """See ``Transport``."""
        if not select.select([self._ours], [], [], timeout_s)[0]:
            return []
        return [os.read(self._ours, MAX_READ_BYTES)]

    def send(self, packets: Iterable[bytes]) -> None:
        """See ``Transport``."""
        for packet in packets:
            try:
                os.write(self._ours, packet)
            except BlockingIOError:  # nobody reads
                return

    def close(self) -> None:
        """See ``Transport``."""
        os.close(self._ours)
        os.close(self._theirs)


Span = tuple[float, float]


@dataclass(frozen=True)
class Story:
    """What happens to the device, in seconds from its start.

    Attributes:
        looks: from when to when the button is down.
        cuts: from when to when the cable is pulled.
        drift_ppm: how much faster its clock runs, in millionths.
    """

    looks: Sequence[Span] = ()
    cuts: Sequence[Span] = ()
    drift_ppm: float = 0.0


def play(
    device: Device,
    sound: Samples,
    transport: Transport,
    impairments: Impairments,
    story: Story,
    each: Callable[[int], None] = lambda chunk: None,
) -> Samples:
    """Let the device hear ``sound`` int16 ``[2, samples]`` in real time; what it played, whole chunks.

    Args:
        device: the device.
        sound: of its microphones.
        transport: its port. What goes through and comes out of it passes a ``Channel`` with the impairments.
        impairments: of both directions.
        story: what happens.
        each: called with each chunk's number.

    Raises:
        LinkError: the port is gone.
    """
    up, down = Channel(impairments), Channel(replace(impairments, seed=impairments.seed + 1))
    begin = time.monotonic()
    heard = []
    for n in range(sound.shape[1] // CHUNK_SAMPLES):
        due = (n + 1) * CHUNK_SAMPLES / RATE / (1 + story.drift_ppm * 1e-6)
        now = time.monotonic() - begin
        while now < due:
            for packet in transport.receive(max(0.0, min(due, up.next_due, down.next_due) - now)):
                down.send(packet, time.monotonic() - begin)
            now = time.monotonic() - begin
            device.receive(b"".join(down.receive(now)))
            transport.send(up.receive(now))
        up.cut = down.cut = within(now, story.cuts)
        device.controls = replace(device.controls, button=int(within(now, story.looks)))
        played, out = device.chunk(sound[:, n * CHUNK_SAMPLES : (n + 1) * CHUNK_SAMPLES])
        if out:
            up.send(out, now)
        transport.send(up.receive(now))
        heard.append(played)
        each(n)
    return np.concatenate(heard, axis=1) if heard else sound[:, :0]


def within(now: float, spans: Sequence[Span]) -> bool:
    """Whether a time is in one of the spans."""
    return any(begin <= now < end for begin, end in spans)
