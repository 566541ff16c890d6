"""The web application on a free port of this computer, in a thread, with toy models."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hearable.extractor import load_model
from hearable.live.web.hearing import Hearing
from hearable.live.web.server import server_for
from hearable.session import open_graph
from tests import toymodel

TOKEN = "only-for-tests"


@dataclass
class Served:
    hearing: Hearing
    port: int

    def address(self, path: str = "/", token: str = TOKEN, scheme: str = "http", **query: str) -> str:
        values = "&".join(f"{k}={v}" for k, v in ({"token": token} | query).items())
        return f"{scheme}://127.0.0.1:{self.port}{path}?{values}"


@contextmanager
def served(folder: Path, seats: int = 3, build_extractor=toymodel.extractor) -> Iterator[Served]:
    model = load_model(toymodel.save_pair(folder, build_extractor=build_extractor))
    enroller = open_graph(toymodel.save_enroller(folder), "enroller")
    hearing = Hearing(model, enroller, {"Anna": toymodel.profile(3), "Ben": toymodel.profile(7)}, seats)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = server_for(hearing, TOKEN, "127.0.0.1")
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Served(hearing, listener.getsockname()[1])
        server.should_exit = True
        thread.join(30)
        hearing.workers.shutdown()
