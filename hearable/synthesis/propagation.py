"""From a dry sound to an array's channels: impulse responses of places, and sources that move between them.

Whatever comes out begins ``LEAD`` samples before the source does, for the arrays' responses to be causal.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import map_coordinates, spline_filter1d
from scipy.signal import resample

from hearable.synthesis.arrays import TAPS, Receiver, band_edge, delays
from hearable.synthesis.spherical_head import SPEED_OF_SOUND

Audio = NDArray[np.float32]
Values = NDArray[np.float64]

TOGETHER = 128  # images at a time, blocks at a time: what the cache holds
BLOCK = 8192  # least FFT of a convolution: shorter ones spend their time in calls
HOP = 256  # between the array responses of a moving source
WINDOW = np.hanning(2 * HOP + 1)[:-1].astype(np.float32)  # windows sum to one
N_FFT = 1024
CONTROL = 32  # samples between which a path is a straight line: off by 1 ns at 2 m/s^2
MARGIN = 32  # samples of silence around an interpolated sound
FINER = 4  # a cubic spline through so many times the samples is within -70 dB up to 0.4 of the rate


def arrivals(receiver: Receiver, position: Values, gain: Values, samples: int) -> Audio:
    """Impulse response of waves from several places: ``[channels, samples]``; what is later than that is left out.

    Args:
        receiver: the arrays.
        position: metres from the array, ``[n, 3]``.
        gain: amplitude at the array, ``[n]``.
        samples: length; with ``TAPS`` after the last arrival nothing is lost.
    """
    distance = np.linalg.norm(position, axis=-1)
    delay = distance / SPEED_OF_SOUND * receiver.rate
    whole = delay.astype(np.intp)
    response = np.zeros((receiver.channels, samples + TAPS), np.float32)
    for first in range(0, len(gain), TOGETHER):
        part = slice(first, first + TOGETHER)
        factor = delays(delay[part] - whole[part], TAPS) * band_edge(TAPS) * gain[part, None].astype(np.float32)
        spectra = receiver.spectra(position[part] / distance[part, None], TAPS) * factor[:, None]
        for begin, taps in zip(whole[part], irfft(spectra, TAPS), strict=True):
            if begin < samples:
                response[:, begin : begin + TAPS] += taps
    return response[:, :samples]


def convolve(dry: Audio, response: Audio) -> Audio:
    """``[samples]`` through ``[channels, taps]``, whole."""
    taps = response.shape[1]
    n_fft = _fft_samples(len(dry), taps)
    return _filtered(dry, rfft(response, n_fft), n_fft, taps)


def _fft_samples(samples: int, taps: int) -> int:
    return next_fast_len(min(max(4 * taps, BLOCK), samples + taps - 1), real=True)  # type: ignore[no-any-return]


def _filtered(dry: Audio, spectrum: NDArray[np.complex64], n_fft: int, taps: int) -> Audio:
    """`convolve` with a response of so many taps given by its spectrum."""
    step = n_fft - taps + 1
    heard = np.zeros((len(spectrum), -(-len(dry) // step) * step + taps - 1), np.float32)
    for begin in range(0, len(dry), step):  # block by block: scipy's oaconvolve holds all blocks at once
        heard[:, begin : begin + n_fft] += irfft(rfft(dry[begin : begin + step], n_fft) * spectrum, n_fft)
    return heard[:, : len(dry) + taps - 1]


def crossfaded(dry: Audio, hop: int, response_at: Callable[[int], Audio], alike: bool) -> Audio:
    """A sound through responses that change every ``hop`` samples, each one's tail kept to its end.

    Args:
        dry: ``[samples]``.
        hop: samples between the centres of two fades.
        response_at: response ``[channels, taps]`` at a sample of ``dry``; the number of taps is always the same. While
            it is the same array, it is transformed once.
        alike: neighbouring responses are nearly the same, so amplitudes are faded; if they are independent, powers.
    """
    window = np.hanning(2 * hop + 1)[:-1]
    fade = (window if alike else np.sqrt(window)).astype(np.float32)
    padded = np.pad(dry, (hop, 2 * hop))
    last: Audio | None = None
    for begin in range(0, len(dry) + hop, hop):
        response = response_at(min(begin, len(dry)))
        if last is None:
            channels, taps = response.shape
            total = np.zeros((channels, len(padded) + taps), np.float32)
            n_fft = _fft_samples(2 * hop, taps)
        if response is not last:
            last, spectrum = response, rfft(response, n_fft)
        heard = _filtered(padded[begin : begin + 2 * hop] * fade, spectrum, n_fft, taps)
        total[:, begin : begin + heard.shape[1]] += heard
    return total[:, hop : hop + len(dry) + taps - 1]


class MovingSource:
    """A sound whose distance and direction change: exact time-varying delay, smoothly turning array responses.

    Args:
        receiver: the arrays.
        dry: ``[samples]``.
    """

    def __init__(self, receiver: Receiver, dry: Audio):
        self._receiver, self._samples = receiver, len(dry)
        padded = np.zeros(next_fast_len(len(dry) + 2 * MARGIN, real=True), np.float32)
        padded[MARGIN : MARGIN + len(dry)] = dry
        finer = resample(padded, FINER * len(padded))
        self._spline = spline_filter1d(finer, 3, output=np.float32)

    def heard(self, path: Callable[[Values], tuple[Values, Values]]) -> Audio:
        """What the array hears of the source, or of its images: ``[channels, samples]``.

        Args:
            path: gives, for times in samples since the source's start ``[k]``, metres from the array ``[n, k, 3]`` and
                amplitude at the array ``[n, k]`` of what leaves the source (or its n images) then.
        """
        rate = self._receiver.rate
        leaves = np.arange(-CONTROL, self._samples + 2 * CONTROL, CONTROL, dtype=np.float64)
        position, gain = path(leaves)
        distance = np.linalg.norm(position, axis=-1)
        arrives = leaves + distance / SPEED_OF_SOUND * rate
        hops = int(np.ceil(arrives.max() / HOP)) + 1
        heard = np.zeros((self._receiver.channels, (hops - 1) * HOP + N_FFT), np.float32)
        for first in range(0, hops, TOGETHER):
            blocks = np.arange(first, min(first + TOGETHER, hops))
            total = np.zeros((len(blocks), self._receiver.channels, N_FFT // 2 + 1), np.complex64)
            for n in range(len(gain)):
                if arrives[n, 0] < (blocks[-1] + 1) * HOP and arrives[n, -1] > (blocks[0] - 1) * HOP:
                    total += self._blocks(blocks, leaves, arrives[n], position[n], gain[n])
            taps = irfft(total, N_FFT)
            for block, sound in zip(blocks, taps, strict=True):
                heard[:, block * HOP : block * HOP + N_FFT] += sound
        return heard[:, HOP : HOP + int(np.ceil(arrives.max())) + TAPS]

    def _blocks(
        self, blocks: NDArray[np.intp], leaves: Values, arrives: Values, position: Values, gain: Values
    ) -> NDArray[np.complex64]:
        """Spectra of consecutive windowed blocks; block b is centred on sample b * HOP."""
        time = np.arange((blocks[0] - 1) * HOP, (blocks[-1] + 1) * HOP, dtype=np.float64)
        left = np.interp(time, arrives, leaves, left=-np.inf, right=np.inf)
        left = np.clip(left, -MARGIN, self._samples + MARGIN - 1)
        wave = map_coordinates(self._spline, [(left + MARGIN) * FINER], order=3, prefilter=False, output=np.float32)
        wave *= np.interp(time, arrives, gain).astype(np.float32)
        windowed = np.lib.stride_tricks.sliding_window_view(wave, 2 * HOP)[::HOP] * WINDOW
        centre = np.stack([np.interp(blocks * HOP, arrives, axis) for axis in position.T], axis=-1)
        direction = centre / np.linalg.norm(centre, axis=-1, keepdims=True)
        return np.asarray(rfft(windowed, N_FFT)[:, None] * self._receiver.spectra(direction, N_FFT))
