"""A desk without a network."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from .support import Desk, variables


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A folder, a home and a cache of its own; at the end nobody must have asked the proxy for anything."""
    folder, home = tmp_path_factory.mktemp("desk"), tmp_path_factory.mktemp("home")
    callers: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    caller.settimeout(5)
                    callers.append(caller.recv(200))

        threading.Thread(target=listen, daemon=True).start()
        yield Desk(folder, variables(home, f"http://127.0.0.1:{server.getsockname()[1]}"))
        server.shutdown(socket.SHUT_RDWR)
    assert not callers, "nothing may look for a server"
