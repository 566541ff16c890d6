"""The bridge's loop: a host at a port, opened again whenever it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

from hearable.errors import LinkError
from hearable.link.host import Host
from hearable.link.transports import Transport

POLL_S = 0.1
RETRY_S = 0.2


def serve(
    open_transport: Callable[[], Transport],
    host: Host,
    stop: threading.Event,
    tell: Callable[[str], None] = lambda text: None,
    each: Callable[[], None] = lambda: None,
) -> None:
    """Serve devices until ``stop`` is set.

    Args:
        open_transport: opens the port.
        host: what serves.
        stop: ends it within ``POLL_S``.
        tell: takes a sentence for the user when something happened.
        each: called after each piece of work, at least every ``POLL_S``, but not while the port is away.

    Raises:
        LinkError: the port cannot be opened the first time; later it is tried again.
    """
    transport = open_transport()
    while not stop.is_set():
        try:
            with closing(transport):
                tell("waiting for a device")
                while not stop.is_set():
                    packets = transport.receive(POLL_S)
                    if packets:
                        transport.send(host.receive(b"".join(packets)))
                    each()
        except LinkError as problem:
            tell(str(problem))
            reopened = _reopen(open_transport, stop)
            if reopened is None:
                return
            transport = reopened


def _reopen(open_transport: Callable[[], Transport], stop: threading.Event) -> Transport | None:
    while not stop.wait(RETRY_S):
        try:
            return open_transport()
        except LinkError:
            continue
    return None
