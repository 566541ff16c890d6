"""Sound events that need no download: made from a label and a number, with known on- and offsets.

Each number has a voice, a bell or a door of its own. They resemble what they are called after closely enough to try a
recipe, to test and to teach direction; to teach recognition in the wild use recordings.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from hearable.synthesis.labels import Span

Wave = NDArray[np.float64]
Pieces = list[tuple[float, Wave]]
"""Start in seconds, and what sounds from there on."""

JOINED_S = 0.5  # pieces closer than this are one stretch
PERIOD = 2048  # samples of a period in a table
VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
FEMALE_FORMANTS = 1.17
RINGS_HZ = ((440, 480), (350, 440), (400, 450), (425, 470))


def built_in_sound(label: str, number: int, rate: int) -> tuple[NDArray[np.float32], list[Span]]:
    """Make a sound.

    Args:
        label: one of `BUILT_IN`.
        number: which of them; the same number is the same sound.
        rate: sample rate in Hz.

    Returns:
        ``[samples]`` with a peak of 0.9, and the stretches that sound.
    """
    rng = np.random.default_rng([zlib.crc32(label.encode()), number])
    pieces = BUILT_IN[label](_Studio(rng, rate))
    ends = [round(start * rate) + len(wave) for start, wave in pieces]
    audio = np.zeros(max(ends))
    spans: list[Span] = []
    for (start, wave), end in sorted(zip(pieces, ends, strict=True), key=lambda p: p[0][0]):
        begin = round(start * rate)
        audio[begin:end] += wave
        if spans and begin - spans[-1][1] < JOINED_S * rate:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((begin, end))
    return (0.9 * audio / np.abs(audio).max()).astype(np.float32), spans


class _Studio:
    """What the sounds are made with."""

    def __init__(self, rng: np.random.Generator, rate: int):
        self.rng, self.rate = rng, rate
        self.between = rng.uniform

    def time(self, seconds: float) -> Wave:
        return np.arange(max(1, round(seconds * self.rate))) / self.rate

    def noise(self, seconds: float, low_hz: float, high_hz: float) -> Wave:
        band = (min(low_hz, 0.4 * self.rate), min(high_hz, 0.45 * self.rate))
        sections = butter(2, band, "bandpass", fs=self.rate, output="sos")
        wave = sosfilt(sections, self.rng.standard_normal(len(self.time(seconds))))
        return np.asarray(wave / np.std(wave))

    def wander(self, seconds: float, hertz: float, depth: float) -> Wave:
        """A smooth random factor around 1."""
        knots = self.rng.standard_normal(int(seconds * hertz) + 4)
        time = self.time(seconds)
        return 1 + depth * np.interp(time * hertz, np.arange(len(knots)), knots)

    def faded(self, wave: Wave, attack_s: float = 0.01, release_s: float = 0.02) -> Wave:
        n = np.arange(len(wave))
        rise, fall = n / (attack_s * self.rate + 1), (len(wave) - n) / (release_s * self.rate + 1)
        return np.asarray(wave * np.minimum(1, np.minimum(rise, fall)))

    def harmonics(self, pitch_hz: Wave, slope: float, top_hz: float = 9000) -> Wave:
        """A tone with overtones that fall as 1 / n ** slope, from a table of one period."""
        count = int(np.clip(min(top_hz, 0.45 * self.rate) / pitch_hz.max(), 1, 80))
        overtones = np.zeros(PERIOD // 2 + 1, np.complex128)
        n = np.arange(1, count + 1)
        overtones[1 : count + 1] = np.exp(1j * n) / n**slope
        period = np.fft.irfft(overtones) * PERIOD / 2
        turns = np.cumsum(pitch_hz) / self.rate % 1
        return np.asarray(np.interp(turns * PERIOD, np.arange(PERIOD + 1), np.append(period, period[0])))

    def strike(self, modes_hz: Wave, decay_s: Wave) -> Wave:
        """A struck body: modes of random strength that die away, down to 40 dB."""
        click = np.zeros(len(self.time(4.6 * float(decay_s.max()))))
        click[0] = 1.0
        wave = np.zeros_like(click)
        for f, decay, strength in zip(modes_hz, decay_s, self.between(0.3, 1, len(modes_hz)), strict=True):
            pole, turn = np.exp(-1 / (decay * self.rate)), 2 * np.pi * min(f / self.rate, 0.45)
            wave += strength * lfilter([0, np.sin(turn)], [1, -2 * pole * np.cos(turn), pole**2], click)
        return self.faded(wave, 0.001)

    def shaped(self, source: Wave, vowel: tuple[float, ...], width: float = 0.08) -> Wave:
        """Formants: the source through three resonances."""
        time = self.time(0.03)
        body = sum(np.sin(2 * np.pi * f * time) * np.exp(-np.pi * width * f * time) / (n + 1)
                   for n, f in enumerate(vowel))  # fmt: skip
        wave = fftconvolve(source, np.asarray(body))[: len(source)]
        return np.asarray(wave / (np.std(wave) + 1e-12))

    def vowel(self, size: float) -> tuple[float, ...]:
        return tuple(size * f for f in VOWELS_HZ[self.rng.integers(len(VOWELS_HZ))])

    def series(self, seconds: float, gap_s: tuple[float, float], piece: Callable[[], Wave]) -> Pieces:
        """Pieces one after the other with gaps, at least one, until ``seconds`` are over."""
        pieces: Pieces = []
        start = 0.0
        while not pieces or start < seconds:
            pieces.append((start, piece()))
            start += len(pieces[-1][1]) / self.rate + float(self.between(*gap_s))
        return pieces


def _speech(studio: _Studio, pitch_hz: float, size: float) -> Pieces:
    def syllable() -> Wave:
        seconds = studio.between(0.12, 0.3)
        line = pitch_hz * studio.between(0.85, 1.2) * studio.wander(seconds, 8, 0.04)
        voiced = studio.faded(studio.shaped(studio.harmonics(line, 1.2), studio.vowel(size)), 0.03, 0.05)
        if studio.rng.random() < 0.5:
            return voiced
        hiss = 0.4 * studio.faded(studio.noise(studio.between(0.05, 0.12), 2500, 8000), 0.02, 0.02)
        return np.concatenate([hiss, voiced])

    pieces: Pieces = []
    start, end = 0.0, studio.between(2.0, 8.0)
    while start < end:  # phrases with breaths between them
        phrase = studio.series(studio.between(0.8, 2.0), (0.0, 0.08), syllable)
        pieces += [(start + at, wave) for at, wave in phrase]
        start += phrase[-1][0] + len(phrase[-1][1]) / studio.rate + studio.between(0.25, 0.6)
    return pieces


def _scream(studio: _Studio, pitch_hz: float, size: float) -> Pieces:
    seconds = studio.between(0.6, 2.0)
    arc = 1 + 0.25 * np.sin(np.pi * studio.time(seconds) / seconds)
    source = studio.harmonics(pitch_hz * arc * studio.wander(seconds, 60, 0.03), 0.6, 11000)
    rough = studio.shaped(source, studio.vowel(size)) * studio.wander(seconds, 90, 0.4)
    return [(0.0, studio.faded(rough + 0.3 * studio.noise(seconds, 1000, 6000), 0.05, 0.15))]


def _baby(studio: _Studio) -> Pieces:
    pitch, vowel = studio.between(380, 560), studio.vowel(1.5)

    def cry() -> Wave:
        seconds = studio.between(0.5, 1.3)
        arc = 1 + 0.2 * np.sin(np.pi * studio.time(seconds) / seconds) ** 0.7
        return studio.faded(studio.shaped(studio.harmonics(pitch * arc, 0.8), vowel), 0.08, 0.15)

    return studio.series(studio.between(2.0, 7.0), (0.25, 0.6), cry)


def _dog(studio: _Studio) -> Pieces:
    pitch, vowel = studio.between(220, 700), studio.vowel(studio.between(0.7, 1.3))

    def bark() -> Wave:
        seconds = studio.between(0.12, 0.25)
        fall = pitch * (1.3 - 0.6 * studio.time(seconds) / seconds)
        rough = studio.harmonics(fall, 0.8) + 2 * studio.noise(seconds, 300, 4000)
        return studio.faded(studio.shaped(rough, vowel, 0.15), 0.015, 0.1)

    return studio.series(studio.between(0.3, 6.0), (0.15, 0.7), bark)


def _footsteps(studio: _Studio) -> Pieces:
    body, hard, rhythm = studio.between(70, 180, 3), studio.between(800, 4000), studio.between(0.32, 0.5)

    def step() -> Wave:
        thud = studio.strike(body * studio.between(0.9, 1.1), np.full(3, 0.025))
        sole = studio.noise(len(thud) / studio.rate, hard, 2 * hard) * np.exp(
            -studio.time(len(thud) / studio.rate) / 0.02
        )
        return thud + 0.5 * sole[: len(thud)]

    return studio.series(studio.between(3.2, 8.0), (rhythm - 0.02, rhythm + 0.02), step)


def _knock(studio: _Studio) -> Pieces:
    modes = studio.between(120, 900, 6)
    decay = studio.between(0.01, 0.04, 6)
    gap = studio.between(0.08, 0.22)
    return studio.series(studio.between(0.4, 1.6), (gap, gap + 0.02), lambda: studio.strike(modes, decay))


def _crash(studio: _Studio) -> Pieces:
    pieces = []
    for shard in range(int(studio.rng.integers(8, 24))):
        modes, decay = studio.between(1200, 9000, 8), studio.between(0.02, 0.12, 8)
        pieces.append((float(studio.between(0, 0.5)) if shard else 0.0, studio.strike(modes, decay)))
    seconds = studio.between(0.3, 0.8)
    boom = 3 * studio.noise(seconds, 150, 6000) * np.exp(-5 * studio.time(seconds) / seconds)
    return [*pieces, (0.0, studio.faded(boom, 0.002))]


def _alarm(studio: _Studio) -> Pieces:
    low, ratio, slope = studio.between(500, 1500), studio.between(1.2, 1.8), studio.between(0.8, 1.5)
    seconds, rate = studio.between(2.0, 8.0), studio.between(0.8, 4.0)
    if studio.rng.random() < 0.5:  # a siren
        sweep = low * ratio ** (0.5 - 0.5 * np.cos(2 * np.pi * rate * studio.time(seconds)))
        return [(0.0, studio.faded(studio.harmonics(sweep, slope)))]
    beep = np.full(len(studio.time(0.4 / rate)), low * ratio)
    gap = 0.25 / rate
    return studio.series(seconds, (gap, gap + 1e-3), lambda: studio.faded(studio.harmonics(beep, slope)))


def _phone(studio: _Studio) -> Pieces:
    if studio.rng.random() < 0.5:  # a bell
        pair, beat = RINGS_HZ[studio.rng.integers(len(RINGS_HZ))], studio.between(15, 25)
        scale = studio.between(1.5, 4.0)

        def ring() -> Wave:
            time = studio.time(studio.between(0.8, 1.6))
            tones = sum(np.sin(2 * np.pi * scale * f * n * time) / n for f in pair for n in (1, 2, 3))
            return studio.faded(np.asarray(tones) * (0.6 + 0.4 * np.sign(np.sin(2 * np.pi * beat * time))))

        return studio.series(studio.between(1.5, 7.0), (0.4, 1.0), ring)
    notes = studio.between(700, 1400) * 2 ** (studio.rng.choice([0, 2, 4, 5, 7, 9, 12], 6) / 12)
    tune = [studio.faded(studio.harmonics(np.full(len(studio.time(0.14)), f), 1.5)) for f in notes]
    return studio.series(studio.between(1.5, 7.0), (0.3, 0.31), lambda: np.concatenate(tune))


def _piano(studio: _Studio) -> Pieces:
    key = studio.between(130, 400)

    def note() -> Wave:
        pitch = key * 2 ** (studio.rng.choice([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
        n = np.arange(1.0, 10.0)
        wave = studio.strike(pitch * n * np.sqrt(1 + 4e-4 * n**2), 0.5 / n**0.7)
        return wave[: round(studio.between(0.3, 0.9) * studio.rate)]

    return [
        (at, studio.faded(wave, 0.002, 0.08)) for at, wave in studio.series(studio.between(2, 7), (-0.1, 0.1), note)
    ]


def _engine(studio: _Studio) -> Pieces:
    seconds = studio.between(5.0, 10.0)
    speed = studio.between(25, 90) * studio.wander(seconds, 0.8, 0.12).clip(0.5, 2)
    firing = studio.harmonics(speed, 0.7, 2500) * studio.wander(seconds, 30, 0.15)
    return [(0.0, studio.faded(firing / np.std(firing) + 0.3 * studio.noise(seconds, 100, 2500), 0.1, 0.2))]


def _fire(studio: _Studio) -> Pieces:
    seconds = studio.between(5.0, 10.0)
    wave = studio.noise(seconds, 60, 1200) * studio.wander(seconds, 4, 0.3)
    for _ in range(int(seconds * studio.between(15, 40))):
        crackle = studio.strike(studio.between(1500, 9000, 3), studio.between(0.001, 0.006, 3))
        at = int(studio.rng.integers(0, len(wave) - len(crackle)))
        wave[at : at + len(crackle)] += studio.between(1, 6) * crackle
    return [(0.0, studio.faded(wave, 0.1, 0.2))]


def _general(studio: _Studio) -> Pieces:
    kind = studio.rng.integers(3)
    seconds = studio.between(2.0, 8.0)
    if kind == 0:  # a fan or a shower
        low = studio.between(150, 1500)
        wave = studio.noise(seconds, low, low * studio.between(2, 8)) * studio.wander(seconds, 3, 0.2)
        return [(0.0, studio.faded(wave, 0.1, 0.2))]
    if kind == 1:  # water that drips
        rise = studio.between(500, 1500)

        def drop() -> Wave:
            time = studio.time(0.06)
            return studio.faded(np.sin(2 * np.pi * rise * (time + 8 * time**2)) * np.exp(-time / 0.015), 0.002)

        return studio.series(seconds, (0.05, 0.5), drop)
    modes, decay = studio.between(300, 5000, 7), studio.between(0.02, 0.2, 7)  # a hammer
    return studio.series(seconds, (0.2, 0.6), lambda: studio.strike(modes, decay))


BUILT_IN: dict[str, Callable[[_Studio], Pieces]] = {
    "alarm": _alarm,
    "crying_baby": _baby,
    "crash": _crash,
    "barking_dog": _dog,
    "female_scream": lambda s: _scream(s, s.between(700, 1200), FEMALE_FORMANTS),
    "female_speech": lambda s: _speech(s, s.between(170, 250), FEMALE_FORMANTS),
    "footsteps": _footsteps,
    "knocking": _knock,
    "male_scream": lambda s: _scream(s, s.between(300, 550), 1.0),
    "male_speech": lambda s: _speech(s, s.between(85, 140), 1.0),
    "phone": _phone,
    "piano": _piano,
    "engine": _engine,
    "fire": _fire,
    "general": _general,
}
"""The classes of DCASE 2021, in its order, and its kinds of interferers."""
