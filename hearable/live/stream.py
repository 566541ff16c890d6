"""From one device's callback to the other's, through the processor: rings, clocks, overload. No device in here.

The callbacks only copy. A worker thread calls ``work`` when sound has come. Every sample has its place: what is
processed too late for it is dropped, what is missing is silence and counted, so that the delay after a disturbance is
what it was before.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hearable.chunks import Audio, Rechunker
from hearable.live.drift import DriftControl
from hearable.live.lateness import Lateness
from hearable.live.overload import Overload
from hearable.live.ring import Ring
from hearable.live.varispeed import Varispeed
from hearable.timing import Timing, summarize

RING_S = 2.0
SKIP_S = 0.5  # a worker that far behind skips what it missed
SHED_S = 0.04  # a worker that far behind lets everything pass, to catch up
RESYNC_S = 0.05  # a delay that far off was no drift: a device paused
JITTER_S = 0.002  # callbacks of two devices come that much early or late
TIMED_CHUNKS = 1250  # 10 s


class ChunkProcessor(Protocol):
    """What is done to the sound, chunk by chunk; a ``LiveProcessor`` is one.

    Attributes:
        rate: samples a second.
        channels: number of channels.
        chunk_samples: samples in a chunk.
        lookahead_samples: how late ``step`` gives what it took.
        shedding: it is to do without the network, to save time.
    """

    rate: int
    channels: int
    chunk_samples: int
    lookahead_samples: int
    shedding: bool

    def step(self, chunk: Audio) -> Audio:
        """One chunk ``[channels, chunk_samples]`` in, one out."""

    def reset(self) -> None:
        """Begin a new stream."""


@dataclass
class Counts:
    """What went wrong so far; streams that follow one another share one."""

    missed: int = 0
    sheds: int = 0
    xruns: int = 0
    worker_errors: int = 0


@dataclass(frozen=True)
class StreamMeters:
    """How the stream runs.

    Attributes:
        timing: how long the last 10 s of chunks took; ``None`` before the first.
        buffer_ms: sound that waits to be played.
        latency_ms: from the capturing callback to the playing one, and through the network; the devices add theirs.
        missed: blocks that were played with a gap.
        sheds: times that the network was paused because it was too slow.
        shedding: it is paused now.
        xruns: losses that the sound system reported.
        worker_errors: exceptions in the worker.
        drift_ppm: how much longer the output is made to follow the playing device, in millionths.
    """

    timing: Timing | None
    buffer_ms: float
    latency_ms: float
    missed: int
    sheds: int
    shedding: bool
    xruns: int
    worker_errors: int
    drift_ppm: float


class LiveStream:
    """Carries sound from a capturing to a playing device.

    Args:
        processor: what is done to the sound.
        in_hz: rate of the capturing device.
        out_hz: rate of the playing device.
        shared_clock: both are one device, or run at the same clock: the rates are equal, and one callback serves both.
        tell: takes a sentence for the user when something happened.
        tap: takes each chunk ``[2, chunk_samples]`` before and after the processor, such as a recorder.
        now: the time in seconds, of a clock that both callbacks and the worker see.
        counts: where to count; by default from zero.
    """

    def __init__(
        self,
        processor: ChunkProcessor,
        in_hz: int,
        out_hz: int,
        shared_clock: bool = True,
        tell: Callable[[str], None] = lambda text: None,
        tap: Callable[[Audio, Audio], None] = lambda before, after: None,
        now: Callable[[], float] = time.monotonic,
        counts: Counts | None = None,
    ):
        if shared_clock and in_hz != out_hz:
            raise ValueError(f"shared_clock: expected equal rates, found {in_hz} and {out_hz} Hz")
        self.in_hz, self.out_hz = in_hz, out_hz
        self.processor, self.tap = processor, tap
        self._tell, self._now = tell, now
        rate, channels = processor.rate, processor.channels
        self._inward = None if in_hz == rate else Varispeed(in_hz, rate, channels)
        self._outward = None if out_hz == rate and shared_clock else Varispeed(rate, out_hz, channels)
        self._drift = None if shared_clock else DriftControl(out_hz)
        self._in, self._out = (Ring(channels, round(RING_S * hz)) for hz in (in_hz, out_hz))
        self._rechunker = Rechunker(processor.chunk_samples, channels)
        self._chunk_s = processor.chunk_samples / rate
        self._captured = self._played = (0, now())  # samples so far, and when
        self._in_block = self._out_block = 0  # the largest block that the device gave, and asked for
        self._taken = self._write_at = self._written = 0
        self._lead = 0  # samples between capturing and playing
        self._planned = (0, 0)  # the blocks that the lead was made for
        self._overload = Overload(self._chunk_s)
        self._lateness = Lateness(tell, now)
        self._failure = ""  # what was told of the processor
        self._seconds: deque[float] = deque(maxlen=TIMED_CHUNKS)
        self.counts = Counts() if counts is None else counts

    # ---- the devices' side: copies, nothing else

    def capture(self, block: Audio) -> None:
        """Take ``[2, samples]`` from the microphones."""
        begin, samples = self._captured[0], block.shape[1]
        self._lateness.called()
        self._in.write(begin, block)
        self._in_block = max(self._in_block, samples)
        self._captured = (begin + samples, self._now())

    def play(self, out: Audio) -> None:
        """Fill ``[2, samples]`` for the headphones."""
        begin, samples = self._played[0], out.shape[1]
        ready = min(max(self._written - begin, 0), samples)
        self._out.read(begin, out[:, :ready])
        if ready < samples:
            out[:, ready:] = 0
            self.counts.missed += self._lead > 0
        self._out_block = max(self._out_block, samples)
        self._played = (begin + samples, self._now())

    @property
    def running(self) -> bool:
        """Whether what is captured now will be played."""
        return self._lead > 0

    def silent_s(self) -> float:
        """Seconds since a device called last: the one that has been silent for longer."""
        return self._now() - min(self._captured[1], self._played[1])

    # ---- the worker's side

    def work(self) -> bool:
        """Process what has come; whether anything had."""
        captured = self._captured[0]
        if not (captured and self._played[0]):
            return False  # not both devices run yet
        self._lateness.begin()
        if self._planned != (self._in_block, self._out_block):
            self._synchronize()
        elif captured - self._taken > SKIP_S * self.in_hz:
            self._tell(f"the computer was busy for {(captured - self._taken) / self.in_hz:.1f} s: skipped that")
            self._synchronize()
        elif self._drift is not None and abs(self._delay_error()) > RESYNC_S * self.out_hz:
            self._tell("a device paused: synchronized again")
            self._synchronize()
        fresh = self._captured[0] - self._taken
        if fresh:
            block = np.empty((self.processor.channels, fresh), np.float32)
            self._in.read(self._taken, block)
            self._taken += fresh
            for chunk in self._rechunker.push(block if self._inward is None else self._inward.push(block)):
                self._step(chunk)
        self._lateness.end(self.counts.missed)
        return fresh > 0

    def _step(self, chunk: Audio) -> None:
        self._watch_load()
        begin = time.perf_counter()
        try:
            heard = self.processor.step(chunk)
        except Exception as problem:  # whatever it is, the user must go on hearing
            self.counts.worker_errors += 1
            failure = f"the processing failed ({type(problem).__name__}: {problem}): started anew"
            if failure != self._failure:  # it may fail at every chunk
                self._tell(failure)
            self._failure = failure
            self.processor.reset()
            heard = np.where(np.isfinite(chunk), chunk, np.float32(0))
        self._seconds.append(time.perf_counter() - begin)
        self.tap(chunk, heard)
        self._put(heard if self._outward is None else self._outward.push(heard))
        if self._drift is not None and self._outward is not None:
            self._outward.correction = self._drift.update(self._delay_error(), self._chunk_s)

    def _put(self, heard: Audio) -> None:
        """Write at its place; what is too late for it is dropped."""
        late = min(max(self._played[0] - self._write_at, 0), heard.shape[1])
        self._out.write(self._write_at + late, heard[:, late:])
        self._write_at += heard.shape[1]
        self._written = max(self._write_at, 0)

    def _synchronize(self) -> None:
        """Begin at what is captured next, at the planned delay."""
        self._planned = (self._in_block, self._out_block)
        for part in (self._inward, self._outward, self._rechunker, self._drift):
            if part is not None:
                part.reset()
        self._taken = self._captured[0]
        self._lead = self._shared_lead() if self._drift is None else self._separate_lead()
        old = self._written
        self._write_at = self._taken + self._lead if self._drift is None else round(self._position() + self._lead)
        gap = min(max(self._write_at - max(old, self._played[0]), 0), self._out.samples)
        self._out.write(self._write_at - gap, np.zeros((self.processor.channels, gap), np.float32))
        self._written = self._write_at

    def _shared_lead(self) -> int:
        """One block while the worker computes; and as a block need not hold whole chunks, what may be left over."""
        chunk = self._chunk_s * self.in_hz
        if not chunk.is_integer():
            return self._out_block + math.ceil(chunk) + 1
        return self._out_block + int(chunk) - math.gcd(self._out_block, int(chunk))

    def _separate_lead(self) -> int:
        """The blocks of two devices have no fixed phase: an input block may come just after it was needed."""
        return math.ceil((self._in_block / self.in_hz + 2 * self._chunk_s + JITTER_S) * self.out_hz)

    def _position(self) -> float:
        """Where, in the samples played, the newest sound that was taken would be played without any delay."""
        now = self._now()
        (captured, captured_at), (played, played_at) = self._captured, self._played
        waiting_s = (captured - self._taken) / self.in_hz + min(now - captured_at, RING_S)
        return played + (min(now - played_at, RING_S) - waiting_s) * self.out_hz

    def _delay_error(self) -> float:
        """How many samples more than planned lie between the two devices, at this moment, between blocks too."""
        pending = self._rechunker.pending_samples / self.processor.rate * self.out_hz  # taken, but not yet written
        return self._write_at - self._position() + pending - self._lead

    def _watch_load(self) -> None:
        waiting_s = self._rechunker.pending_samples / self.processor.rate
        behind_s = (self._captured[0] - self._taken) / self.in_hz + waiting_s
        blocks_s = max(self._in_block / self.in_hz, self._chunk_s)
        if self._overload.watch(behind_s > SHED_S + 2 * blocks_s):
            self.counts.sheds += 1
            self._tell(f"too slow: everything passes, the network pauses for {self._overload.rest_s:g} s")
        self.processor.shedding = self._overload.resting

    @property
    def latency_s(self) -> float:
        """From the capturing callback to the playing one, and through network and resamplers."""
        resamplers = sum(part.delay_s for part in (self._inward, self._outward) if part is not None)
        return self._lead / self.out_hz + self.processor.lookahead_samples / self.processor.rate + resamplers

    def meters(self) -> StreamMeters:
        """How it runs."""
        seconds = list(self._seconds)
        return StreamMeters(
            timing=summarize(seconds, self._chunk_s) if seconds else None,
            buffer_ms=1000 * max(self._written - self._played[0], 0) / self.out_hz,
            latency_ms=1000 * self.latency_s,
            missed=self.counts.missed,
            sheds=self.counts.sheds,
            shedding=self.processor.shedding,
            xruns=self.counts.xruns,
            worker_errors=self.counts.worker_errors,
            drift_ppm=0.0 if self._outward is None else -1e6 * self._outward.correction,
        )
