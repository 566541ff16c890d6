"""The device's side of the link, driven by the sound: the twin of ``firmware_bridge/link/hb_device.c``, byte for byte.

Simulated devices run this; the tests hold it and the firmware against each other.
"""

from __future__ import annotations

import numpy as np

from hearable.link.frames import FrameReader, encode_frame
from hearable.link.jitter import CLOCKS, JitterBuffer, ahead
from hearable.link.losses import FrameCounter
from hearable.link.messages import (
    CHANNELS,
    CHUNK_SAMPLES,
    COPIES,
    VERSION,
    WELCOME,
    AudioIn,
    AudioOut,
    Controls,
    CopyIn,
    CopyOut,
    DeviceStatus,
    Hello,
    HostStatus,
    Message,
    Samples,
    Welcome,
    pack,
    parse,
)

_HELLO_EVERY, _CONTROLS_EVERY, _STATUS_EVERY, _SILENCE_ENDS = 32, 12, 125, 64  # chunks of 8 ms
_NO_SLACK = 2**15 - 1


class Device:
    """One device. Call ``chunk`` for every 128 samples of the microphones, ``receive`` for what comes from the host.

    Args:
        count: chunks that it can hold: one more than the longest delay that it grants.
        hello: what it says about itself.

    Attributes:
        controls: what the wearer wants; a change is sent with the next chunk.
        host: the host's last status.
        answer: the last answer to a hello.
        welcome: whether it is in a session.
        delay_samples: from a chunk that is complete to its answer that is played.
        lookahead_samples: of the host's model.
    """

    def __init__(self, count: int = 16, hello: Hello | None = None):
        self.hello = hello or Hello()
        self.controls = Controls()
        self.host = HostStatus()
        self.answer = WELCOME
        self.welcome = False
        self.delay_samples = self.lookahead_samples = 0
        self.jitter = JitterBuffer(count)
        self._told: Controls | None = None
        self._reader = FrameReader()
        self._frames = FrameCounter()
        self._clock = self._heard = self._sequence = 0
        self._slack_samples = _NO_SLACK
        self._before = np.zeros((CHANNELS, CHUNK_SAMPLES), np.int16)

    def receive(self, data: bytes) -> None:
        """Take bytes from the host, in any pieces."""
        for body in self._reader.push(data):
            sequence, message = parse(body)
            if isinstance(message, Welcome):
                self._begin(message)
            if self.welcome:
                self._heard = self._clock
                self._frames.count(sequence)
                self._take(message)

    def _begin(self, welcome: Welcome) -> None:
        self.answer = welcome.answer
        if welcome.version != VERSION or welcome.answer != WELCOME or self.welcome:
            return
        chunks = min(welcome.delay_samples // CHUNK_SAMPLES, self.jitter.count - 1)
        self.welcome = True
        self.delay_samples, self.lookahead_samples = chunks * CHUNK_SAMPLES, welcome.lookahead_samples
        self._slack_samples = _NO_SLACK
        self._frames = FrameCounter()
        self._told = None  # the host may be a new one
        self.jitter.restart((self._clock - self.delay_samples) % CLOCKS)
        self.jitter.copied = self.jitter.concealed = 0

    def _take(self, message: Message | None) -> None:
        if isinstance(message, AudioOut):
            self._slack_samples = min(self._slack_samples, ahead(message.clock, self.jitter.next))
            self.jitter.put(message)
        elif isinstance(message, CopyOut):
            self.jitter.put(message)
        elif isinstance(message, HostStatus):
            self.host = message

    def chunk(self, microphones: Samples) -> tuple[Samples, bytes]:
        """Take a chunk, int16 ``[channels, samples]``; the chunk that is played now, and the bytes to be sent."""
        chunk, out = self._clock // CHUNK_SAMPLES, b""
        if (self._clock - self._heard) % CLOCKS >= _SILENCE_ENDS * CHUNK_SAMPLES:
            self.welcome = False
        if self.welcome:
            out = self._frame(AudioIn(self._clock, microphones))
            if self.hello.flags & COPIES:
                out += self._frame(CopyIn.of((self._clock - CHUNK_SAMPLES) % CLOCKS, self._before))
            if chunk % _CONTROLS_EVERY == 0 or self.controls != self._told:
                out += self._frame(self.controls)
                self._told = self.controls
            if chunk % _STATUS_EVERY == 0:
                out += self._frame(self.status())
            heard, _ = self.jitter.take()
        else:
            if chunk % _HELLO_EVERY == 0:
                out = self._frame(self.hello)
            heard = self.jitter.through(microphones)
        self._before = microphones
        self._clock = (self._clock + CHUNK_SAMPLES) % CLOCKS
        return heard, out

    def _frame(self, message: Message) -> bytes:
        frame = encode_frame(pack(message, self._sequence))
        self._sequence = (self._sequence + 1) % 65536
        return frame

    def status(self) -> DeviceStatus:
        """How it fares; the least slack begins anew."""
        slack, self._slack_samples = self._slack_samples, _NO_SLACK
        return DeviceStatus(
            self._frames.received,
            self._frames.lost,
            self._reader.damaged,
            self.jitter.copied,
            self.jitter.concealed,
            CHUNK_SAMPLES + self.delay_samples + self.lookahead_samples,
            max(slack, -(2**15)),
        )
