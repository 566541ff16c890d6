"""How late is live sound? Bursts go out, and are heard again through a cable, or a headphone held to a microphone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hearable.chunks import Audio
from hearable.errors import AudioError

BURSTS = 8
EVERY_CHUNKS = 50  # 0.4 s: longer than any delay that is of use
FIRST_CHUNK = 25
PEAK = 0.25
LEAST_SHARPNESS = 4.0  # the correlation's peak, above the next highest apart from it


@dataclass(frozen=True)
class RoundTrip:
    """The median over the bursts that were found, and how far they lie apart, in samples."""

    samples: float
    spread: float
    bursts: int


class Probe:
    """Stands where the ``LiveProcessor`` stands: what is measured went the whole way that live sound goes.

    Its own delay is none; the network's lookahead is to be added.

    Args:
        rate: samples a second.
        chunk_samples: samples in a chunk.
    """

    def __init__(self, rate: int, chunk_samples: int):
        self.rate, self.channels, self.chunk_samples, self.lookahead_samples = rate, 2, chunk_samples, 0
        self.shedding = False
        noise = np.random.default_rng(1).uniform(-PEAK, PEAK, chunk_samples)
        self._burst = np.tile(noise * np.hanning(chunk_samples), (2, 1)).astype(np.float32)
        self._heard: list[Audio] = []

    @property
    def done(self) -> bool:
        """Whether all bursts had their time."""
        return len(self._heard) >= FIRST_CHUNK + BURSTS * EVERY_CHUNKS

    def reset(self) -> None:
        """Begin anew."""
        self._heard.clear()

    def step(self, chunk: Audio) -> Audio:
        """Keep what comes in; now and then a burst goes out."""
        n = len(self._heard) - FIRST_CHUNK
        self._heard.append(chunk)
        now = n >= 0 and n % EVERY_CHUNKS == 0 and n // EVERY_CHUNKS < BURSTS
        return self._burst if now else np.zeros_like(chunk)

    def result(self) -> RoundTrip:
        """Where the bursts came back.

        Raises:
            AudioError: they did not.
        """
        heard = np.concatenate(self._heard, axis=1).sum(axis=0, dtype=np.float64)
        delays = []
        for n in range(BURSTS):
            begin = (FIRST_CHUNK + n * EVERY_CHUNKS) * self.chunk_samples
            part = heard[begin : begin + EVERY_CHUNKS * self.chunk_samples]
            if part.size > 2 * self.chunk_samples and (delay := self._delay(part)) is not None:
                delays.append(delay)
        if len(delays) < BURSTS / 2:
            raise AudioError(
                f"round trip: expected {BURSTS} bursts to come back, found {len(delays)}: lead the output back to the "
                "input with a cable, or hold a headphone to a microphone, and turn the level up"
            )
        return RoundTrip(float(np.median(delays)), float(np.ptp(delays)), len(delays))

    def _delay(self, part: np.ndarray) -> int | None:
        height = np.abs(np.correlate(part, self._burst[0].astype(np.float64), "valid"))
        peak = int(np.argmax(height))
        apart = np.abs(np.arange(height.size) - peak) > self.chunk_samples
        return peak if height[peak] > max(LEAST_SHARPNESS * height[apart].max(initial=0.0), 1e-9) else None
