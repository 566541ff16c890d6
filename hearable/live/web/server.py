"""Running the application on this computer."""

from __future__ import annotations

import gc
import secrets
import socket
from collections.abc import Callable

import uvicorn

from hearable.errors import HearableError
from hearable.live.web.app import create_app
from hearable.live.web.hearing import Hearing
from hearable.live.web.messages import most_bytes


def serve(hearing: Hearing, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Args:
        hearing: what is served.
        host: address to listen on.
        port: 0 takes any that is free.
        ready: takes the page's address, token included, once it can be opened.

    Raises:
        HearableError: the address cannot be listened on.
    """
    with _listening(host, port) as listener:
        port, token = listener.getsockname()[1], secrets.token_urlsafe(16)
        server = server_for(hearing, token, host)
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{port}/?token={token}")
        gc.collect()
        gc.freeze()  # collections look at what is new only: no pauses that can be heard
        server.run(sockets=[listener])


def server_for(hearing: Hearing, token: str, host: str) -> uvicorn.Server:
    """The server, not yet running."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(hearing, token, host),
            ws="websockets-sansio",
            ws_max_size=most_bytes(hearing.model.spec),
            ws_per_message_deflate=False,  # sound does not shrink, and trying takes time
            log_level="error",
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise HearableError(f"{host}:{port}: cannot listen there ({reason}): choose another --port") from problem
    return listener
