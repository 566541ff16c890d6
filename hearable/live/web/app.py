"""The web application: the page and its scripts, the live stream, recordings, profiles to keep."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from hearable.live.web.guard import Guard
from hearable.live.web.hearing import Hearing
from hearable.live.web.recording import extract
from hearable.live.web.session import live

STATIC = Path(__file__).resolve().parent / "static"


def create_app(hearing: Hearing, token: str, host: str = "127.0.0.1") -> Starlette:
    """The application, guarded (see ``Guard``)."""
    app = Starlette(
        routes=[
            Route("/", page),
            WebSocketRoute("/live", live),
            Route("/extract", extract, methods=["POST"]),
            Route("/profile", profile),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, token=token, host=host)],
    )
    app.state.hearing = hearing
    return app


async def page(request: Request) -> Response:
    """The page itself."""
    return FileResponse(STATIC / "index.html")


async def profile(request: Request) -> Response:
    """``GET /profile?name=N``: that person as a profile to keep, which ``--profile`` reads again."""
    person = request.app.state.hearing.people.get(request.query_params.get("name", ""))
    if person is None:
        return PlainTextResponse("Expected the name of somebody enrolled, found another.", 404)

    def content() -> bytes:
        with tempfile.TemporaryDirectory(prefix="hearable-") as folder:
            path = Path(folder, "person.profile")
            person.save(path)
            return path.read_bytes()

    return Response(await asyncio.to_thread(content), media_type="application/octet-stream")
