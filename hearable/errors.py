"""The errors that the library raises; only the command line exits.

::

    HearableError
    ├── AudioError          sound that cannot be read, written or used
    ├── ModelError
    │   ├── ModelNotFound   no such model
    │   ├── ModelAltered    not the file that was published
    │   └── SpecMismatch    a graph that is not what its metadata says, or not what is needed
    ├── ProfileError        a profile that cannot be read or written
    │   └── ProfileMismatch a profile of another embedding space
    ├── EnrollmentError     a clip that nobody can be enrolled from
    ├── LabelError          labels of sound events that cannot be read, written or scored
    └── LinkError           a port that cannot be opened, or is gone

Each message is one line: what was expected, what was found, and the mend. A wrong argument in the caller's code (a
negative size, two options that exclude each other) is a ``ValueError``.
"""

from __future__ import annotations


class HearableError(Exception):
    """Everything that can go wrong with the user's files, models and sound."""


class AudioError(HearableError):
    """Sound that cannot be read, written or used."""


class ModelError(HearableError):
    """A model that cannot be used."""


class ModelNotFound(ModelError):
    """No model of that name, or no file at that path."""


class ModelAltered(ModelError):
    """A shipped model whose hash is not the published one."""


class SpecMismatch(ModelError):
    """A graph that is not what its metadata says, or not the kind that is needed."""


class ProfileError(HearableError):
    """A profile that cannot be read or written."""


class ProfileMismatch(ProfileError):
    """A profile of another embedding space than the model's."""


class EnrollmentError(HearableError):
    """A clip that nobody can be enrolled from."""


class LabelError(HearableError):
    """Labels of sound events that cannot be read, written or scored."""


class LinkError(HearableError):
    """A port to a device that cannot be opened, or is gone."""
