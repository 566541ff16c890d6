"""The tab for recordings: a sound file in, and what the person said out."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from hearable.audio import AudioReader, AudioWriter, read_audio
from hearable.enrollment import MAX_SECONDS, enroll
from hearable.errors import EnrollmentError, HearableError
from hearable.live.processor import LEAST_BACKGROUND_DB
from hearable.live.web.hearing import Hearing
from hearable.live.web.seats import NoSeat
from hearable.profiles import EnrollmentQuality
from hearable.recordings import extract_stream

MOST_BYTES = 256 * 2**20
STILL_THERE_S = 0.25  # how often to see whether the page is


async def extract(request: Request) -> Response:
    """``POST /extract?start=S&seconds=S[&background=DB]`` with a sound file: a 24-bit wav of the same length and rate.

    The person is enrolled from ``seconds`` at ``start``; the header ``X-Verdict`` says as JSON how good that was. What
    will not do is answered by ``{"error": "..."}``.
    """
    hearing: Hearing = request.app.state.hearing
    folder = tempfile.TemporaryDirectory(prefix="hearable-")
    try:
        with hearing.seats.take():
            start, seconds, background_db = _options(request)
            source, out = Path(folder.name, "recording"), Path(folder.name, "heard.wav")
            await _receive(request, source)
            gone = threading.Event()
            work = asyncio.create_task(
                asyncio.to_thread(_extract, hearing, source, out, start, seconds, background_db, gone)
            )
            while not (await asyncio.wait([work], timeout=STILL_THERE_S))[0]:
                if await request.is_disconnected():
                    gone.set()
            quality = work.result()
    except NoSeat as problem:
        folder.cleanup()
        return JSONResponse({"error": str(problem)}, 503)
    except (HearableError, _WrongRequest) as problem:
        text = str(problem).replace(folder.name + "/recording", "recording")
        folder.cleanup()
        return JSONResponse({"error": text}, 400)
    except BaseException:
        folder.cleanup()
        raise
    verdict = json.dumps(quality.rounded())
    tidy = BackgroundTask(folder.cleanup)
    return FileResponse(out, media_type="audio/wav", headers={"X-Verdict": verdict}, background=tidy)


class _WrongRequest(Exception):
    """The request, not the sound, will not do."""


def _options(request: Request) -> tuple[float, float, float | None]:
    """Start and length of the look in seconds, gain of the rest in dB."""
    query = request.query_params
    try:
        start, seconds = float(query["start"]), float(query["seconds"])
        background_db = float(query["background"]) if query.get("background") else None
    except (KeyError, ValueError) as problem:
        raise _WrongRequest(f"expected start, seconds and perhaps background as numbers: {problem}") from problem
    if background_db is not None and not LEAST_BACKGROUND_DB <= background_db <= 0:
        raise _WrongRequest(f"background: expected {LEAST_BACKGROUND_DB:g} to 0 dB, found {background_db:g}")
    if not 0 < seconds <= MAX_SECONDS:
        raise EnrollmentError(
            f"look: expected at most {MAX_SECONDS:g} s, found {seconds:g} s: choose a shorter stretch"
        )
    return start, seconds, background_db


async def _receive(request: Request, path: Path) -> None:
    """The body into a file."""
    size = 0
    try:
        with path.open("wb") as file:
            async for part in request.stream():
                size += len(part)
                if size > MOST_BYTES:
                    raise _WrongRequest(f"expected at most {MOST_BYTES // 2**20} MB: use hearable extract for more")
                file.write(part)
    except ClientDisconnect as problem:
        raise _WrongRequest("the page has left") from problem


def _extract(
    hearing: Hearing,
    source: Path,
    out: Path,
    start: float,
    seconds: float,
    background_db: float | None,
    gone: threading.Event,
) -> EnrollmentQuality:
    """Enroll and extract, in a thread; stop when nobody waits for it any more."""
    with AudioReader(source, stereo=True) as reader:
        clip, rate = read_audio(source, start, seconds)
        profile = enroll(clip, rate, hearing.enroller)
        stream = extract_stream(hearing.model, [profile], reader.blocks(), rate, background_db=background_db)
        with AudioWriter(out, rate) as writer:
            for heard in stream:
                if gone.is_set():
                    raise _WrongRequest("the page has left")
                writer.write(heard[0])
    assert profile.quality is not None  # enroll() always judges
    return profile.quality
