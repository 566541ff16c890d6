"""What live hearing does to sound: one person, or everything, and the way from one to the other without a click.

No threads and no devices: the engine, the web page and the bridge each run one of these on their own clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hearable.chunks import Audio, Rechunker, SampleQueue
from hearable.errors import AudioError, ModelError, ProfileError
from hearable.extractor import ChunkExtractor, Model
from hearable.live.gains import FULL_SCALE, EarGuard, Fade, PeakHold
from hearable.live.recent import RecentInput
from hearable.profiles import SpeakerProfile

LEAST_BACKGROUND_DB = -60.0  # that a user can ask for; below it is silence
LOUDEST = 8.0  # input beyond +18 dB full scale is a fault of a driver, and would overflow the network
_WARM_UP_CHUNKS = 3


@dataclass(frozen=True)
class Meters:
    """What the processor is doing, for a display. Levels are peaks in dB full scale, left and right.

    Attributes:
        in_db: level of the input.
        out_db: level of the output.
        selected: who is heard; ``None`` if nobody is selected and everything passes.
        target_active: whether that person is speaking.
        background_db: gain of everything else, ``-inf`` to 0.
        bypass: everything passes, whoever is selected.
        muted: nothing is heard.
        looking_s: seconds since the look began, ``None`` if there is none.
        chunks: processed since the start.
        limited_chunks: how many of them the limiter turned down.
        bad_samples: NaN or infinity from the microphone, replaced by silence.
        fault: why the last selected person is no longer extracted; ``None`` if all is well.
    """

    in_db: tuple[float, ...]
    out_db: tuple[float, ...]
    selected: str | None
    target_active: bool
    background_db: float
    bypass: bool
    muted: bool
    looking_s: float | None
    chunks: int
    limited_chunks: int
    bad_samples: int
    fault: str | None


class LiveProcessor:
    """Binaural sound in, what the user wants to hear out, at the model's rate.

    Everything passes until somebody is selected. The output is ``target + gain * (mixture - target)``, as that of
    ``hearable extract --background``: selecting, bypass and the background level are all a fade of that one gain, 1
    when everything passes. Sound that passes is delayed as the target is, so that the two never comb, and the delay
    never changes. One thread calls ``process`` (or ``step``); others may call the rest.

    Args:
        model: from ``load_model``.
        people: who can be selected, by name, in order.

    Attributes:
        bypass: everything passes, whoever is selected.
        muted: nothing is heard.
        shedding: set it when the computer is too slow: the network is not run, everything passes, from the next chunk.
        recent: the last seconds of input; ``look_start`` and ``look_stop`` on it, or here.
        latency_samples: delay of ``process``.
        lookahead_samples: delay of ``step``.

    Raises:
        ProfileMismatch: one of the people is of another embedding space than the model.

    Example:
        >>> live = LiveProcessor(load_model("base"))  # doctest: +SKIP
        >>> live.look_start()  # doctest: +SKIP
        >>> heard = live.process(block)  # everything, 12 ms late  # doctest: +SKIP
        >>> profile = enroll(live.look_stop(), live.rate)  # in another thread: it takes a while  # doctest: +SKIP
        >>> live.add("anna", profile)  # doctest: +SKIP
        >>> live.select("anna")  # doctest: +SKIP
    """

    def __init__(self, model: Model, people: Mapping[str, SpeakerProfile] | None = None):
        spec = model.spec
        self.rate, self.channels, self.chunk_samples = spec.sample_rate_hz, spec.channels, spec.chunk_samples
        self.latency_samples, self.lookahead_samples = spec.latency_samples, spec.lookahead_samples
        self.bypass = self.muted = self.shedding = False
        self.recent = RecentInput(self.rate, self.channels)
        self._model = model
        self._people: dict[str, SpeakerProfile] = {}
        self._selected: tuple[str, SpeakerProfile] | None = None
        self._background_db = -math.inf
        self._extractor: ChunkExtractor | None = None
        self._extracted: SpeakerProfile | None = None
        self._rest = Fade(1.0, self.chunk_samples)  # the gain of everything but the target
        self._volume = Fade(1.0, self.chunk_samples)
        self._guard = EarGuard(self.chunk_samples, self.rate)
        chunk_s = self.chunk_samples / self.rate
        self._in_peak, self._out_peak = PeakHold(self.channels, chunk_s), PeakHold(self.channels, chunk_s)
        self._chunks = self._bad_samples = 0
        self._fault: str | None = None
        self._in = Rechunker(self.chunk_samples, self.channels)
        self._out = SampleQueue(self.channels)
        self.reset()
        for name, profile in (people or {}).items():
            self.add(name, profile)
        self._warm_up()

    def _warm_up(self) -> None:
        """Run the network a few times: the first runs allocate, and take longer."""
        spec, state = self._model.spec, self._model.extractor.state()
        for _ in range(_WARM_UP_CHUNKS):
            silence = np.zeros((spec.channels, spec.chunk_samples), np.float32)
            self._model.extractor.step(silence, np.zeros(spec.conditioning_values, np.float32), state)

    def reset(self) -> None:
        """Begin a new stream, as when the device was changed: people, selection and levels stay."""
        self._extractor = self._extracted = None
        self._late = np.zeros((self.channels, self.lookahead_samples), np.float32)
        self._in.reset()
        self._out.clear()
        self._out.push(np.zeros((self.channels, self.chunk_samples), np.float32))

    @property
    def people(self) -> tuple[str, ...]:
        """Names of those who can be selected, in the order in which they were added."""
        return tuple(self._people)

    @property
    def profiles(self) -> dict[str, SpeakerProfile]:
        """A copy of who can be selected, by name."""
        return dict(self._people)

    @property
    def selected(self) -> str | None:
        """Who is heard; ``None`` if everything passes."""
        selected = self._selected
        return None if selected is None else selected[0]

    @property
    def background_db(self) -> float:
        """Gain of everything but the selected person: ``-inf`` (silence) to 0 dB (as it is)."""
        return self._background_db

    @background_db.setter
    def background_db(self, value: float) -> None:
        if not value <= 0:  # also refuses NaN
            raise ValueError(f"background_db: expected -inf to 0 dB, found {value}")
        self._background_db = float(value)

    def add(self, name: str, profile: SpeakerProfile) -> None:
        """Add somebody, or replace whoever has that name, at once if that person is selected.

        Raises:
            ProfileMismatch: the profile is of another embedding space than the model.
        """
        self._model.condition(profile)
        self._people[name] = profile
        if self.selected == name:
            self._selected = (name, profile)

    def select(self, name: str | None) -> None:
        """Hear this person from the next chunk on, or everything if ``None``; 32 ms of crossfade.

        Raises:
            ProfileError: nobody has that name.
        """
        if name is not None and name not in self._people:
            known = ", ".join(self._people) or "nobody"
            raise ProfileError(f"person {name!r}: expected one of those enrolled ({known}): enroll them first")
        self._fault = None
        self._selected = None if name is None else (name, self._people[name])

    def look_start(self) -> None:
        """The user looks at somebody from now on (see ``RecentInput``)."""
        self.recent.look_start()

    def look_stop(self) -> Audio:
        """End the look: the clip ``[2, samples]`` of 2 to 5 s to enroll from, in another thread.

        Raises:
            EnrollmentError: no look was begun, or less than 2 s were heard since the start.
        """
        return self.recent.look_stop()

    def meters(self) -> Meters:
        """What it is doing."""
        extractor = self._extractor
        return Meters(
            in_db=self._in_peak.db(),
            out_db=self._out_peak.db(),
            selected=self.selected,
            target_active=extractor is not None and extractor.target_active,
            background_db=self._background_db,
            bypass=self.bypass,
            muted=self.muted,
            looking_s=self.recent.looking_s,
            chunks=self._chunks,
            limited_chunks=self._guard.limited_chunks,
            bad_samples=self._bad_samples,
            fault=self._fault,
        )

    def process(self, block: ArrayLike) -> Audio:
        """Take float32 ``[2, samples]``, any number of samples; give as many, ``latency_samples`` late.

        NaN and infinity become silence and are counted. If the network fails, everything passes and ``fault`` says why.

        Raises:
            AudioError: another shape, or not floating point.
        """
        audio = np.asarray(block)
        if audio.ndim != 2 or audio.shape[0] != self.channels or not np.issubdtype(audio.dtype, np.floating):
            raise AudioError(f"block: expected floating point [{self.channels}, samples], "
                             f"found {audio.dtype} {list(audio.shape)}")  # fmt: skip
        for chunk in self._in.push(audio.astype(np.float32, copy=False)):
            self._out.push(self.step(chunk))
        return self._out.pop(audio.shape[1])

    def step(self, chunk: Audio) -> Audio:
        """One chunk of float32 ``[2, chunk_samples]`` in, one out, ``lookahead_samples`` late.

        For a caller whose clock ticks in chunks; ``process`` takes any block and pays one chunk of delay for it. Use
        one of them, not both.
        """
        chunk = self._repaired(chunk)
        self.recent.push(chunk)
        loudest = self._in_peak.peaks.max()  # of what is heard now, the first part came in before this chunk
        self._in_peak.update(chunk)
        heard = np.concatenate([self._late, chunk], axis=1)
        mixture, self._late = heard[:, : self.chunk_samples], heard[:, self.chunk_samples :]
        target = self._target(chunk)
        rest = self._rest.towards(self._wanted_rest())
        if target is None or (rest[0] == rest[-1] == 1):  # exactly the input, without rounding
            out: Audio = mixture * rest
        else:
            others: Audio = mixture - target
            out = target + rest * others
        ceiling = min(FULL_SCALE, float(max(loudest, self._in_peak.peaks.max())))
        out = self._guard.limit(out * self._volume.towards(0.0 if self.muted else 1.0), ceiling)
        self._out_peak.update(out)
        self._chunks += 1
        return out

    def _repaired(self, chunk: Audio) -> Audio:
        finite = np.isfinite(chunk)
        if not finite.all():
            self._bad_samples += int(chunk.size - np.count_nonzero(finite))
            chunk = np.where(finite, chunk, np.float32(0))
        repaired: Audio = np.clip(chunk, -LOUDEST, LOUDEST)
        return repaired

    def _wanted_rest(self) -> float:
        if self._extractor is None or self._selected is None or self.bypass:
            return 1.0
        return float(10 ** (self._background_db / 20))

    def _target(self, chunk: Audio) -> Audio | None:
        """The selected person, or the one who is being faded out; ``None`` if there is nobody."""
        selected = self._selected
        if self.shedding or (selected is None and self._rest.value == 1):
            self._extractor = self._extracted = None
            return None
        try:
            if selected is not None and selected[1] is not self._extracted:
                if self._extractor is None:
                    self._extractor = ChunkExtractor(self._model, selected[1])
                else:
                    self._extractor.set_profile(selected[1])
                self._extracted = selected[1]
            return None if self._extractor is None else self._extractor.step(chunk)
        except ModelError as problem:
            self._extractor = self._extracted = self._selected = None
            self._fault = f"{problem}: everything passes; select the person again to try once more"
            return None
