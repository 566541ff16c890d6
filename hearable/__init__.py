"""Look at someone for a few seconds, then hear only them.

Enroll a speaker from one short, noisy, binaural clip; extract that speaker from binaural sound, 8 ms at a time::

    import hearable

    model = hearable.load_model("base")
    clip, rate = hearable.read_audio("enroll.wav")
    profile = hearable.enroll(clip, rate)
    mixture, rate = hearable.read_audio("mixture.wav")
    target = hearable.extract(model, profile, mixture, rate)
"""

from hearable.audio import AudioReader, AudioWriter, read_audio, write_audio
from hearable.checkpoints import list_models
from hearable.enrollment import enroll
from hearable.errors import (
    AudioError,
    EnrollmentError,
    HearableError,
    LabelError,
    LinkError,
    ModelAltered,
    ModelError,
    ModelNotFound,
    ProfileError,
    ProfileMismatch,
    SpecMismatch,
)
from hearable.extractor import Model, StreamingExtractor, load_model
from hearable.profiles import EnrollmentQuality, SpeakerProfile
from hearable.recordings import extract, extract_stream
from hearable.spec import ModelSpec

__version__ = "0.1.0"

__all__ = [
    "AudioError",
    "AudioReader",
    "AudioWriter",
    "EnrollmentError",
    "EnrollmentQuality",
    "HearableError",
    "LabelError",
    "LinkError",
    "Model",
    "ModelAltered",
    "ModelError",
    "ModelNotFound",
    "ModelSpec",
    "ProfileError",
    "ProfileMismatch",
    "SpeakerProfile",
    "SpecMismatch",
    "StreamingExtractor",
    "enroll",
    "extract",
    "extract_stream",
    "list_models",
    "load_model",
    "read_audio",
    "write_audio",
]
