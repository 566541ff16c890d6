"""The local page in a real browser, with a fake microphone at each ear."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hearable.audio import read_audio
from hearable.live.web import session
from hearable.metrics import si_sdr
from tests import tinykit, toymodel
from tests.webserver import Served, served

playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'hearable[dev]'")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LOOKAHEAD = toymodel.EXTRACTOR.lookahead_samples
FADE = 1024  # samples
PATIENCE_MS = 60_000

playwright.expect.set_options(timeout=PATIENCE_MS)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="apt install chromium")


def scene(seconds: float = 6.0) -> np.ndarray:
    """Two talkers ``[2, samples]``: one straight ahead, the same at both ears; one in opposite phase, 6 dB louder."""
    rng = np.random.default_rng(5)
    ahead, other = (tinykit.voice(pitch, seconds, rng) for pitch in (140, 215))
    other *= 2 * np.sqrt(np.mean(ahead**2) / np.mean(other**2))
    mixture = np.stack([ahead + other, ahead - other])
    return (0.1 * mixture / np.abs(mixture).max()).astype(np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Served]:
    """One seat; the extractor gives what both ears have in common: the talker ahead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "SHED_WAITING", session.MOST_WAITING)  # a busy computer must not turn into pass-through
        with served(tmp_path_factory.mktemp("models"), seats=1, build_extractor=toymodel.mid_extractor) as running:
            yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator:
    microphone = tmp_path_factory.mktemp("microphone") / "ears.wav"
    soundfile.write(microphone, scene().T, tinykit.RATE)
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}",
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, server) -> Iterator:
    """The page; an error in its scripts fails the test."""
    page = browser.new_page(viewport={"width": 1180, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    problems: list[str] = []
    page.on("pageerror", lambda problem: problems.append(str(problem)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(server.address())
    yield page
    page.close()
    assert not problems


def listen(page) -> None:
    page.get_by_role("button", name="Start listening").click()
    playwright.expect(page.get_by_role("status")).to_contain_text("You hear everything")
    playwright.expect(page.get_by_role("button", name="Look")).to_be_focused()  # space looks, and does not stop


def take(page, folder: Path, seconds: int) -> tuple[np.ndarray, np.ndarray]:
    """Record with the page's button, download both sounds."""
    page.get_by_role("button", name="Record", exact=True).click()
    enough = "|".join(map(str, range(seconds, 300)))  # a busy computer shows not every second
    page.get_by_role("button", name=re.compile(rf"Recording ({enough}) s")).click()
    sounds = []
    for name in ("Download around", "Download heard"):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).first.click()
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        sounds.append(read_audio(path)[0])
    around, heard = sounds
    assert around.shape == heard.shape
    # Of the same time, without what may still be a crossfade: however busy the computer is, it is over after 5 chunks.
    return around[:, FADE:-LOOKAHEAD], heard[:, FADE + LOOKAHEAD :]


def test_look_at_somebody_then_hear_only_them(page, server, tmp_path):
    listen(page)
    look = page.get_by_role("button", name="Look")
    page.get_by_label("Name").fill("Emma")
    look.focus()
    page.keyboard.down("Enter")
    playwright.expect(look).to_contain_text(re.compile(r"[0-2]\.\d s left"))
    page.keyboard.up("Enter")
    emma = page.get_by_role("radio", name="Emma")
    playwright.expect(emma).to_be_checked(timeout=PATIENCE_MS)

    around, heard = take(page, tmp_path, seconds=2)
    ahead = np.tile(around.mean(axis=0), (2, 1))
    assert around.shape[1] > 30000 and np.abs(ahead).max() > 0.01
    before, after = (si_sdr(sound, ahead).mean() for sound in (around, heard))
    assert before < 3 and after > 40  # the toy's gain follows each ear's level a little

    page.keyboard.press("0")
    playwright.expect(page.get_by_role("radio", name="Everything")).to_be_checked()
    around, heard = take(page, tmp_path, seconds=1)
    assert around.shape[1] > 14000
    np.testing.assert_array_equal(heard, around)

    page.get_by_role("button", name="Stop listening").click()
    playwright.expect(page.get_by_role("status")).to_have_text("Stopped.")
    assert "Emma" in server.hearing.people


def test_keys_people_and_levels(page):
    listen(page)
    page.keyboard.press("2")
    playwright.expect(page.get_by_role("radio", name="Ben")).to_be_checked()
    playwright.expect(page.get_by_role("status")).to_have_text("You hear Ben.")
    page.keyboard.press("b")
    playwright.expect(page.get_by_role("button", name="Bypass")).to_have_attribute("aria-pressed", "true")
    for _ in range(3):
        page.keyboard.press("+")
    playwright.expect(page.get_by_role("slider", name="Everything else")).to_have_attribute("aria-valuetext", "-51 dB")
    page.keyboard.down(" ")
    playwright.expect(page.get_by_role("status")).to_contain_text("Looking")
    page.keyboard.up(" ")
    playwright.expect(page.get_by_role("status")).to_contain_text("two seconds at least")


def test_a_connection_that_is_lost_is_told_and_comes_back_with_the_same_person(page, monkeypatch):
    listen(page)
    page.keyboard.press("2")
    playwright.expect(page.get_by_role("status")).to_have_text("You hear Ben.")
    whole = session.Session._status
    selected: list[str | None] = []

    def broken(self) -> dict:
        monkeypatch.setattr(session.Session, "_status", watched)
        raise session.WebSocketDisconnect

    def watched(self) -> dict:
        selected.append(self._processor.selected)
        return whole(self)

    monkeypatch.setattr(session.Session, "_status", broken)
    playwright.expect(page.get_by_role("status")).to_contain_text("is lost; trying again")
    page.get_by_role("button", name="Record", exact=True).click()
    playwright.expect(page.get_by_role("status")).to_have_text("Connected again.")
    page.get_by_role("button", name=re.compile(r"Recording \d+ s")).click()
    playwright.expect(page.get_by_role("link", name="Download heard")).to_be_visible()
    assert selected[-1] == "Ben"


AFTER_A_STANDSTILL = """async () => {
  globalThis.AudioWorkletProcessor = class { port = { postMessage() {} }; };
  let Ears;
  globalThis.registerProcessor = (name, found) => (Ears = found);
  await import("/static/ears.js");
  const ears = new Ears({ processorOptions: { chunkSamples: 128 } });
  for (let n = 0; n < 50; n++) ears.ready.push(new Float32Array(256).fill(n / 100));
  const heard = [], left = new Float32Array(128), right = new Float32Array(128);
  for (let n = 0; n < 3; n++) {
    ears.play(left, right);
    heard.push(...left);
  }
  return { waiting: ears.ready.length, heard };
}"""


def test_what_piled_up_in_a_standstill_is_left_out_at_once_and_without_a_click(page):
    found = page.evaluate(AFTER_A_STANDSTILL)
    assert found["waiting"] <= 2
    assert found["heard"][-1] > 0.45
    assert np.abs(np.diff(found["heard"])).max() < 0.02  # chunks are 0.01 apart, the standstill is 0.47


def test_a_page_too_many_is_told(page, browser, server):
    listen(page)
    second = browser.new_page()
    second.goto(server.address())
    second.get_by_role("button", name="Start listening").click()
    playwright.expect(second.get_by_role("status")).to_contain_text("can serve 1 at once")
    playwright.expect(second.get_by_role("button", name="Start listening")).to_be_enabled()
    second.close()


def test_a_recording(page, tmp_path):
    mixture = scene()
    soundfile.write(tmp_path / "party.wav", mixture.T, tinykit.RATE, "PCM_24")
    page.get_by_role("tab", name="Live").focus()
    page.keyboard.press("ArrowRight")
    playwright.expect(page.get_by_role("tabpanel", name="Recording")).to_be_visible()
    page.locator("#file").set_input_files(tmp_path / "party.wav")
    playwright.expect(page.get_by_text("party.wav, 6.0 s")).to_be_visible()
    page.get_by_label("to second").fill("3")
    page.get_by_role("button", name="Extract this person").click()
    playwright.expect(page.get_by_role("status")).to_contain_text("Done")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "party-heard.wav"
    download.value.save_as(tmp_path / "heard.wav")
    heard, rate = read_audio(tmp_path / "heard.wav")
    assert rate == tinykit.RATE and heard.shape == mixture.shape
    assert si_sdr(heard, np.tile(mixture.mean(axis=0), (2, 1))).mean() > 40


OPERATED = {"button", "checkbox", "combobox", "link", "meter", "radio", "slider", "spinbutton", "tab", "textbox"}


def accessible(page) -> list[tuple[str, str, dict]]:
    """Role, name and properties of everything that a screen reader finds."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip(),
         {p["name"]: p["value"].get("value") for p in node.get("properties", ())})
        for node in nodes if not node["ignored"]
    ]  # fmt: skip


@pytest.mark.parametrize("tab", ["Live", "Recording"])
def test_a_screen_reader_finds_a_name_for_everything_and_hears_the_news(page, tab):
    page.get_by_role("tab", name=tab).click()
    page.evaluate(
        "for (const e of document.querySelectorAll('details, #chosen, #result')) e.open = !(e.hidden = false)"
    )
    found = accessible(page)
    roles = [role for role, _, _ in found]
    assert {"heading", "tablist", "tabpanel", "image"} <= set(roles)
    assert not [(role, name) for role, name, _ in found if role in {*OPERATED, "image", "tabpanel"} and not name]
    assert [properties["live"] for role, _, properties in found if role == "status"] == ["polite"]
    assert sum(role in OPERATED for role in roles) >= 9


def test_everything_is_reached_by_tab(page):
    listen(page)
    page.get_by_role("tab", name="Live").focus()
    reached = []
    while "Devices" not in reached:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    people = {"Save", "Forget"}
    assert people <= set(reached)
    order = "listen bypass mute record look name who-0 background Devices".split()
    assert [name for name in reached if name not in people] == order
