"""The host's side of the link: serves a device as ``hearable live`` serves a sound card. No port, no clock."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hearable.chunks import Audio
from hearable.link.frames import FrameReader, encode_frame
from hearable.link.jitter import JitterBuffer, ahead
from hearable.link.losses import FrameCounter
from hearable.link.messages import (
    CHANNELS,
    CHUNK_SAMPLES,
    COPIES,
    HOSTS_CHOICE,
    MODEL_BYTES,
    RATE,
    VERSION,
    WELCOME,
    WRONG_FORMAT,
    WRONG_MODEL,
    WRONG_VERSION,
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
from hearable.link.wearer import Enroller, Wearer
from hearable.live.overload import Overload
from hearable.live.processor import LiveProcessor
from hearable.profiles import SpeakerProfile

HELD_CHUNKS = 16  # 128 ms: what comes later than that is not worth computing
GIVE_UP_CHUNKS = 3  # a chunk that is missing is concealed once one is there that is so much later
SHED_CHUNKS = 8  # a host that far behind is too slow: everything passes for a while
STATUS_EVERY = 125  # chunks: a second

_ANSWERS = {
    WELCOME: "connected",
    WRONG_VERSION: f"refused: expected protocol version {VERSION}",
    WRONG_FORMAT: f"refused: expected {CHANNELS} channels, {CHUNK_SAMPLES} samples a chunk, {RATE} Hz",
    WRONG_MODEL: "refused: it was built for another model",
}


class Host:
    """Serves one device: bytes in, bytes out. People and settings outlive a device's sessions.

    Args:
        processor: what is done to the sound; its format is the protocol's.
        model: the start of the SHA-256 of the extractor's file.
        delay_samples: from a chunk that is complete to its answer that is played; a multiple of 128.
        enroller: enrolls whom the wearer looks at.
        tell: takes a sentence for the user when something happened.
        keep: takes name and profile of whoever was enrolled; the sound waits for it.

    Attributes:
        device: the device's last status; ``None`` before the first.
        jumps: times that the sound went on at a later place: the link or the host was away.

    Raises:
        ValueError: the processor's format or the delay is not the protocol's.
    """

    def __init__(
        self,
        processor: LiveProcessor,
        model: bytes,
        delay_samples: int,
        enroller: Enroller,
        tell: Callable[[str], None] = lambda text: None,
        keep: Callable[[str, SpeakerProfile], None] = lambda name, profile: None,
    ):
        found = (processor.rate, processor.channels, processor.chunk_samples)
        if found != (RATE, CHANNELS, CHUNK_SAMPLES):
            raise ValueError(f"processor: expected {RATE} Hz, {CHANNELS} channels, chunks of {CHUNK_SAMPLES}, "
                             f"found {', '.join(map(str, found))}")  # fmt: skip
        if delay_samples % CHUNK_SAMPLES or not 0 < delay_samples < 2**16:
            raise ValueError(f"delay_samples: expected a multiple of {CHUNK_SAMPLES}, found {delay_samples}")
        self.processor, self.model, self.delay_samples = processor, model, delay_samples
        self.device: DeviceStatus | None = None
        self.jumps = 0
        self._wearer, self._tell = Wearer(processor, enroller, tell, keep), tell
        self._sequence = 0
        self._told = WELCOME  # in answer to the last hello
        self._overload = Overload(CHUNK_SAMPLES / RATE)
        self._begin(Hello())
        self._serving = False

    def _begin(self, hello: Hello) -> None:
        self._serving = True
        self._copies = bool(hello.flags & COPIES)
        self._reader, self._frames = FrameReader(), FrameCounter()
        self._jitter = JitterBuffer(HELD_CHUNKS)
        self._newest: int | None = None  # clock of the newest chunk that came
        self._before: tuple[int, Samples] | None = None  # the clock and sound of the last answer
        self._until_status = STATUS_EVERY

    def receive(self, data: bytes) -> list[bytes]:
        """Take all bytes that have come, in any pieces; the frames to be sent.

        What has come is put into order before it is processed: of a backlog, only the newest chunks are.
        """
        frames = []
        for body in self._reader.push(data):
            sequence, message = parse(body)
            if isinstance(message, Hello):
                frames.append(self._greet(message))
            elif self._serving:
                self._frames.count(sequence)
                self._take(message)
        while self._due():
            frames += self._answer()
        return frames

    def _greet(self, hello: Hello) -> bytes:
        answer = self._judge(hello)
        rest = self._reader  # it is in the middle of reading
        if answer == WELCOME:
            self._begin(hello)
            self._reader = rest
            self._wearer.forget_look()
        if answer == WELCOME or answer != self._told:  # who is refused asks again and again
            self._tell(f"device {_ANSWERS[answer]}")
        self._told = answer
        return self._frame(Welcome(VERSION, answer, self.delay_samples, self.processor.lookahead_samples, self.model))

    def _judge(self, hello: Hello) -> int:
        if hello.version != VERSION:
            return WRONG_VERSION
        if (hello.channels, hello.chunk_samples, hello.rate_hz) != (CHANNELS, CHUNK_SAMPLES, RATE):
            return WRONG_FORMAT
        return WELCOME if hello.model in (bytes(MODEL_BYTES), self.model) else WRONG_MODEL

    def _take(self, message: Message | None) -> None:
        if isinstance(message, AudioOut | CopyOut):
            return  # our own, come back
        if isinstance(message, AudioIn | CopyIn):
            self._put(message)
        elif isinstance(message, Controls):
            self._wearer.obey(message)
        elif isinstance(message, DeviceStatus):
            self.device = message

    def _put(self, chunk: AudioIn | CopyIn) -> None:
        if self._newest is None:
            self._jitter.restart(chunk.clock)
            self._newest = chunk.clock
        elif ahead(chunk.clock, self._jitter.next) >= HELD_CHUNKS * CHUNK_SAMPLES:
            self._jitter.restart(chunk.clock)
            self.jumps += 1
        if ahead(chunk.clock, self._newest) > 0:
            self._newest = chunk.clock
        self._jitter.put(chunk)

    def _due(self) -> bool:
        """Whether the next chunk is to be processed: it is there, or it will not come any more."""
        if self._newest is None:
            return False
        return self._jitter.ready or ahead(self._newest, self._jitter.next) >= GIVE_UP_CHUNKS * CHUNK_SAMPLES

    def _answer(self) -> list[bytes]:
        clock = self._jitter.next
        self._watch_load()
        samples, _ = self._jitter.take()
        heard = to_int16(self.processor.step(samples / np.float32(32768)))
        frames = [self._frame(AudioOut(clock, heard))]
        if self._copies and self._before is not None:
            frames.append(self._frame(CopyOut.of(*self._before)))
        self._before = (clock, heard)
        self._wearer.finish_look()
        self._until_status -= 1
        if not self._until_status:
            self._until_status = STATUS_EVERY
            frames.append(self._frame(self.status()))
        return frames

    def _watch_load(self) -> None:
        """Sound that passes in time is better than a voice that comes too late to be played."""
        assert self._newest is not None
        if self._overload.watch(ahead(self._newest, self._jitter.next) >= SHED_CHUNKS * CHUNK_SAMPLES):
            self._tell(f"too slow: everything passes for {self._overload.rest_s:g} s")
        self.processor.shedding = self._overload.resting

    def status(self) -> HostStatus:
        """How it fares."""
        people, selected = self.processor.people, self.processor.selected
        return HostStatus(
            self._frames.received,
            self._frames.lost,
            self._reader.damaged,
            self._jitter.copied,
            self._jitter.concealed,
            min(len(people), HOSTS_CHOICE),
            HOSTS_CHOICE if selected is None else min(people.index(selected), HOSTS_CHOICE),
            self._wearer.look,
            int(self.processor.meters().target_active),
        )

    def _frame(self, message: Message) -> bytes:
        frame = encode_frame(pack(message, self._sequence))
        self._sequence = (self._sequence + 1) % 65536
        return frame


def to_int16(audio: Audio) -> Samples:
    """Float32 in -1..1 as int16, clipped at full scale."""
    samples: Samples = np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16)
    return samples
