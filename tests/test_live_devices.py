"""Which devices are taken, why, and what is remembered."""

from __future__ import annotations

import pytest

from hearable.errors import AudioError
from hearable.live import devices as module
from hearable.live.devices import Device, choose, remember, remembered_devices
from hearable.live.portaudio import shares_clock

MIC = Device(0, "Built-in Microphone", "ALSA", 1, 0, 44100, ("input",))
EARS = Device(1, "Binaural USB", "ALSA", 2, 0, 48000)
PHONES = Device(2, "Headphones", "ALSA", 0, 2, 48000, ("output",))
CARD = Device(3, "Scarlett 4i4", "ALSA", 6, 4, 48000)
SAME_MME = Device(4, "Headphones", "MME", 0, 2, 44100)
ALL = [MIC, EARS, PHONES, CARD, SAME_MME]


@pytest.fixture(autouse=True)
def _config(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "settings_path", lambda: tmp_path / "config" / "devices.json")


@pytest.mark.parametrize(
    ("wanted", "remembered", "expected", "why"),
    [
        ("1", None, EARS, "asked for"),
        ("binaural", None, EARS, "asked for"),
        ("scarlett", "binaural", CARD, "asked for"),
        (None, "Scarlett 4i4 (ALSA)", CARD, "remembered"),
        (None, "gone (ALSA)", EARS, "the default is not stereo"),
        (None, None, EARS, "the default is not stereo"),
    ],
)
def test_microphones(wanted, remembered, expected, why):
    choice = choose(ALL, "input", wanted, remembered)
    assert choice.device == expected and why in choice.why


def test_the_default_is_taken_if_stereo_and_the_best_host_of_equal_names():
    assert choose(ALL, "output", None, None).why == "the system's default"
    assert choose(ALL[::-1], "output", "headphones", None).device == PHONES


@pytest.mark.parametrize("wanted", ["0", "built-in"])
def test_a_mono_microphone_is_refused_with_the_reason(wanted):
    with pytest.raises(AudioError, match=r"Built-in Microphone.*expected 2 input channels.*cannot tell directions"):
        choose(ALL, "input", wanted, None)
    with pytest.raises(AudioError, match="cannot tell directions"):
        choose([MIC, PHONES], "input", None, None)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [("zzz", "index or part of a name, of: 0 Built-in"), ("9", "expected an index"), ("a", "give more of the name")],
)
def test_a_name_that_fits_none_or_several_is_refused(wanted, text):
    with pytest.raises(AudioError, match=text):
        choose(ALL, "input", wanted, None)


def test_no_devices_at_all():
    with pytest.raises(AudioError, match="no headphones found"):
        choose([], "output", None, None)


def test_devices_are_remembered_by_name_and_each_way_by_itself():
    assert remembered_devices() == {}
    remember({"input": EARS})
    remember({"output": PHONES})
    assert remembered_devices() == {"input": "Binaural USB (ALSA)", "output": "Headphones (ALSA)"}
    moved = [Device(7, "Headphones", "ALSA", 0, 2, 48000)]
    assert choose(moved, "output", None, remembered_devices()["output"]).device.index == 7


@pytest.mark.parametrize("content", ["[1]", "{", '{"input": 3}', ""])
def test_damaged_settings_are_as_none(content):
    path = remember({"input": EARS})
    path.write_text(content)
    assert remembered_devices() == {}


def test_one_clock():
    jack = [Device(n, name, "JACK Audio Connection Kit", 2, 2, 48000) for n, name in enumerate("ab")]
    assert shares_clock(*jack) and shares_clock(CARD, CARD) and not shares_clock(EARS, PHONES)
