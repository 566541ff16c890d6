"""Two sound devices on a simulated clock: hours in seconds, and whatever goes wrong on demand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hearable.live.stream import LiveStream


class SimDevices:
    """Calls a stream as devices would: with blocks of a size, at a rate that is a little off.

    Args:
        source: float32 ``[2, samples]`` for each (first sample, number of samples).
        block_s: seconds in a block, each device's.
        ppm: how much faster than nominal, each device's.
        jitter_s: callbacks come that much late, at most.
    """

    def __init__(
        self,
        source: Callable[[int, int], np.ndarray],
        in_block: int = 128,
        out_block: int = 128,
        in_ppm: float = 0.0,
        out_ppm: float = 0.0,
        jitter_s: float = 0.0,
    ):
        self.time = 0.0
        self.source, self.in_block, self.out_block, self.jitter_s = source, in_block, out_block, jitter_s
        self.in_ppm, self.out_ppm = in_ppm, out_ppm
        self.heard: list[np.ndarray] = []
        self.keep = True
        self.captured = 0
        self.rng = np.random.default_rng(0)

    def attach(self, stream: LiveStream, shared: bool = True) -> None:
        self.stream, self.shared = stream, shared
        self.in_period = self.in_block / (stream.in_hz * (1 + 1e-6 * self.in_ppm))
        self.out_period = self.out_block / (stream.out_hz * (1 + 1e-6 * self.out_ppm))
        self.next_in = self.in_period
        self.next_out = self.in_period if shared else 0.37 * self.out_period
        self.in_stopped_until = self.out_stopped_until = 0.0

    def now(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        """Let time pass and the devices call, without the worker."""
        end = self.time + seconds
        while (due := min(self.next_in, self.next_out)) <= end:
            self.time = due + self.jitter_s * self.rng.random()
            if self.next_in == due:
                if due >= self.in_stopped_until:
                    self.stream.capture(self.source(self.captured, self.in_block))
                    self.captured += self.in_block
                self.next_in += self.in_period
            if self.next_out == due or self.shared:
                if due >= self.out_stopped_until:
                    out = np.full((2, self.out_block), np.nan, np.float32)
                    self.stream.play(out)
                    if self.keep:
                        self.heard.append(out)
                self.next_out += self.out_period
        self.time = max(end, self.time)

    def run(self, seconds: float) -> None:
        """Let time pass, the worker running after every call."""
        end = self.time + seconds
        while (due := min(self.next_in, self.next_out)) <= end:
            self.advance(due - self.time + 1e-9)
            self.stream.work()
        self.advance(end - self.time)

    def output(self) -> np.ndarray:
        return np.concatenate(self.heard, axis=1)


def playing(audio: np.ndarray) -> Callable[[int, int], np.ndarray]:
    """A source: a sound, and silence behind its end."""

    def source(begin: int, samples: int) -> np.ndarray:
        part = audio[:, begin : begin + samples]
        return np.pad(part, ((0, 0), (0, samples - part.shape[1])))

    return source


def tone(hz: float, rate: float, peak: float = 0.3) -> Callable[[int, int], np.ndarray]:
    """A source: an endless tone, the same at both ears."""

    def source(begin: int, samples: int) -> np.ndarray:
        t = np.arange(begin, begin + samples) / rate
        return np.tile(peak * np.sin(2 * np.pi * hz * t), (2, 1)).astype(np.float32)

    return source
