"""One page that listens: chunks in, chunks out, commands, and a report ten times a second."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import asdict
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from hearable.chunks import Audio
from hearable.enrollment import enroll
from hearable.errors import HearableError
from hearable.live.overload import Overload
from hearable.live.processor import LiveProcessor
from hearable.live.stream import TIMED_CHUNKS
from hearable.live.watch import SoundWatch
from hearable.live.web.hearing import MOST_PEOPLE, Hearing
from hearable.live.web.messages import Command, WrongMessage, read_chunk, read_command, write_chunk
from hearable.live.web.seats import NoSeat
from hearable.timing import summarize

POLICY, TRY_LATER = 1008, 1013  # codes of RFC 6455 and its registry
REPORT_S = 0.1
MOST_WAITING = 64  # chunks; then the connection is not read until some are done
SHED_WAITING = 8  # that many chunks behind, everything passes for a while
MOST_REASON = 120  # bytes of a close frame's reason


async def live(websocket: WebSocket) -> None:
    """Serve one page until it leaves, or refuse it with the reason."""
    hearing: Hearing = websocket.app.state.hearing
    await websocket.accept()
    try:
        with hearing.seats.take():
            await Session(websocket, hearing).run()
    except NoSeat as problem:
        await _refuse(websocket, TRY_LATER, str(problem))
    except WrongMessage as problem:
        await _refuse(websocket, POLICY, str(problem))
    except WebSocketDisconnect:
        pass


async def _refuse(websocket: WebSocket, code: int, reason: str) -> None:
    await websocket.send_json({"refused": reason})
    await websocket.close(code, reason[:MOST_REASON])


class Session:
    """The stream of one page."""

    def __init__(self, websocket: WebSocket, hearing: Hearing):
        self._websocket, self._hearing = websocket, hearing
        self._spec = hearing.model.spec
        self._processor = LiveProcessor(hearing.model)
        self._waiting: asyncio.Queue[Audio] = asyncio.Queue(MOST_WAITING)
        self._seconds: deque[float] = deque(maxlen=TIMED_CHUNKS)
        self._overload, self._sheds = Overload(self._spec.chunk_ms / 1000), 0
        self._enrollments: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until the page leaves.

        Raises:
            WebSocketDisconnect: the page has left.
            WrongMessage: it sent what no page of ours would.
        """
        await self._send(hello={"model": self._spec.name, "rate": self._spec.sample_rate_hz,
                                "chunk_samples": self._spec.chunk_samples})  # fmt: skip
        parts = [asyncio.create_task(part()) for part in (self._receive, self._process, self._report)]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for task in (*parts, *self._enrollments):
                task.cancel()
            await asyncio.gather(*parts, *self._enrollments, return_exceptions=True)

    async def _send(self, **message: Any) -> None:
        await self._websocket.send_json(message)

    async def _receive(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            if (data := message.get("bytes")) is not None:
                await self._waiting.put(read_chunk(data, self._spec))
            else:
                await self._obey(read_command(message["text"]))

    async def _process(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            chunk = await self._waiting.get()
            self._watch_load()
            heard = await loop.run_in_executor(self._hearing.workers, self._step, chunk)
            await self._websocket.send_bytes(write_chunk(heard))

    def _step(self, chunk: Audio) -> Audio:
        begin = time.perf_counter()
        heard = self._processor.step(chunk)
        self._seconds.append(time.perf_counter() - begin)
        return heard

    def _watch_load(self) -> None:
        self._sheds += self._overload.watch(self._waiting.qsize() > SHED_WAITING)
        self._processor.shedding = self._overload.resting

    async def _report(self) -> None:
        watch = SoundWatch()
        while True:
            await self._send(status=self._status())
            for text in watch.news(self._processor.meters()):
                await self._send(problem=text)
            await asyncio.sleep(REPORT_S)

    def _status(self) -> dict[str, Any]:
        meters = asdict(self._processor.meters())
        if meters["background_db"] == -math.inf:
            meters["background_db"] = None
        timing = summarize(list(self._seconds), self._spec.chunk_ms / 1000) if self._seconds else None
        return {
            **meters,
            "people": list(self._hearing.people),
            "shedding": self._processor.shedding,
            "sheds": self._sheds,
            "waiting": self._waiting.qsize(),
            "p50_ms": timing and round(timing.p50_ms, 2),
            "p99_ms": timing and round(timing.p99_ms, 2),
        }

    # ---- what the user wants

    async def _obey(self, command: Command) -> None:
        processor = self._processor
        try:
            if command.do == "look":
                processor.look_start()
            elif command.do == "enroll":
                self._enroll_from(processor.look_stop(), command.name or "")
            elif command.do == "select":
                self._select(command.name)
            elif command.do == "forget":
                self._forget(command.name or "")
            elif command.do == "background":
                processor.background_db = -math.inf if command.db is None else command.db
            elif command.do == "bypass":
                processor.bypass = command.on
            elif command.do == "mute":
                processor.muted = command.on
        except HearableError as problem:
            await self._send(problem=str(problem))

    def _select(self, name: str | None) -> None:
        if name in self._hearing.people:  # whoever is not is refused by the processor
            self._processor.add(name, self._hearing.people[name])
        self._processor.select(name)

    def _forget(self, name: str) -> None:
        self._hearing.people.pop(name, None)
        if self._processor.selected == name:
            self._processor.select(None)

    def _enroll_from(self, clip: Audio, name: str) -> None:
        """Enrolling takes a moment: sound goes on meanwhile."""
        task = asyncio.create_task(self._enroll(clip, name))
        self._enrollments.add(task)
        task.add_done_callback(self._enrollments.discard)

    async def _enroll(self, clip: Audio, name: str) -> None:
        people = self._hearing.people
        try:
            profile = await asyncio.to_thread(enroll, clip, self._spec.sample_rate_hz, self._hearing.enroller)
            if len(people) >= MOST_PEOPLE:
                await self._send(problem=f"expected at most {MOST_PEOPLE} people: forget somebody first")
                return
            name = name.strip() or self._hearing.free_name()
            self._hearing.model.condition(profile)
            people[name] = profile
            self._select(name)
        except HearableError as problem:
            await self._send(problem=str(problem))
            return
        assert profile.quality is not None  # enroll() always judges
        await self._send(verdict={"name": name, **profile.quality.rounded()})
