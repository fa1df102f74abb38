"""A relay before a server, which holds all connections back until it is released: for what is killed in between."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.swarm import SECONDS
from swarmlearning.address import join, split


class Held:
    """Listens at `address`, and relays to the server behind it once it is released."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._asked, self._released = threading.Event(), threading.Event()
        self.address = join("127.0.0.1", self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def wait(self) -> None:
        """Until somebody has connected."""
        assert self._asked.wait(SECONDS), f"nobody has connected to {self.address}"

    def release(self) -> None:
        self._released.set()

    def close(self) -> None:
        self.release()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self._asked.set()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        self._released.wait()
        with client, suppress(OSError), socket.create_connection(split(self._server)) as server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def files_held(folder: Path) -> Iterator[Held]:
    """A server of the files in a folder, over HTTP, behind such a relay."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        held = Held(join("127.0.0.1", server.server_port))
        try:
            yield held
        finally:
            held.close()
            server.shutdown()
