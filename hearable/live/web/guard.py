"""Who may talk to the server: pages that it served itself, with the token of its URL.

Any page in the user's browser can send requests to 127.0.0.1, and sees the answer if a name of its own resolves to it
(DNS rebinding). So the name of the host, the origin and a token in the URL are checked before anything else.
"""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOCAL = ("127.0.0.1", "localhost")
ANYWHERE = ("0.0.0.0", "::")
OPEN_TO_ALL = "/static/"  # scripts and styles: the same in every installation
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; media-src blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the URL holds the token
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware that refuses strangers with 403, before a WebSocket is accepted.

    Args:
        app: what is guarded.
        token: must be in the query as ``token``.
        host: where the server listens; that name and those of this computer are accepted as ``Host``. A server that
            listens everywhere cannot know its names, and relies on origin and token.
    """

    def __init__(self, app: ASGIApp, token: str, host: str):
        self._app, self._token = app, token.encode()
        self._hosts = None if host in ANYWHERE else {*LOCAL, host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            problem = self._problem(HTTPConnection(scope))
        except ValueError:  # from urlsplit
            problem = "Expected a host name and an origin, found something else."
        if problem is not None:
            refusal = PlainTextResponse(problem, 403, HEADERS) if scope["type"] == "http" else WebSocketClose()
            await refusal(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)

    def _problem(self, connection: HTTPConnection) -> str | None:
        host = connection.headers.get("host", "")
        if self._hosts is not None and urlsplit(f"//{host}").hostname not in self._hosts:
            return "Expected the address that hearable web printed, found another host name."
        origin = connection.headers.get("origin")  # browsers name it whenever a script asks; other programs need not
        if origin is not None and urlsplit(origin).netloc != host:
            return "Expected a page of this server, found one of another origin."
        if connection.url.path.startswith(OPEN_TO_ALL):
            return None
        found = connection.query_params.get("token", "").encode()
        if not secrets.compare_digest(found, self._token):
            return (
                "Expected the token in the address, found none or another: open the address that hearable web printed."
            )
        return None
