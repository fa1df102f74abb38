"""How the client's end of a connection waits for what it knows to be on its way."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.models import tlsstream
from swarmlearning.models.tlsstream import TlsStream

SECONDS = 60.0
SENT = 40_000
MUCH = 200_000


class Pair:
    """A stream, the socket below it, and the server's end."""

    def __init__(self, client: Identity, server: Identity) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.plain = socket.create_connection(self.listener.getsockname())
        with ThreadPoolExecutor(1) as thread:
            accepting = thread.submit(self._accept, server)
            self.stream = TlsStream(self.plain, client_context(client), "127.0.0.1", SECONDS)
            self.server = accepting.result()
        self.stream.allow(2 * MUCH, SECONDS)

    def _accept(self, server: Identity) -> socket.socket:
        plain, _ = self.listener.accept()
        return server_context(server).wrap_socket(plain, server_side=True)

    def waits_for(self) -> int:
        """The bytes that have to come until the kernel wakes whoever reads."""
        return self.plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)

    def read(self, count: int) -> bytes:
        """So many bytes."""
        room = memoryview(bytearray(count))
        filled = 0
        while filled < count:
            filled += self.stream.recv_into(room[filled:])
        return bytes(room)

    def close(self) -> None:
        for end in (self.stream, self.server, self.listener):
            end.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, what has been sent comes within a moment."""
    monkeypatch.setattr(tlsstream, "_MOMENT_MS", 1000 * int(SECONDS))


@pytest.fixture
def pair(identities: dict[str, Identity]) -> Iterator[Pair]:
    made = Pair(identities["SL-2"], identities["SL-1"])
    yield made
    made.close()


@pytest.mark.usefixtures("patient")
def test_of_much_that_is_to_come_a_thread_is_not_woken_for_each_packet(pair: Pair) -> None:
    pair.server.sendall(bytes(MUCH // 2))
    pair.stream.expect(MUCH)
    pair.read(1)
    assert pair.waits_for() == 2**16


@pytest.mark.usefixtures("patient")
def test_never_more_is_waited_for_than_is_sure_to_come_beside_a_record_that_is_here_in_part(pair: Pair) -> None:
    pair.server.sendall(bytes(SENT))
    pair.stream.expect(SENT)
    pair.read(1)
    assert 1 < pair.waits_for() < SENT - 2**14


def test_what_comes_slowly_is_read_all_the_same(pair: Pair) -> None:
    pair.server.sendall(b"little")
    pair.stream.expect(MUCH)
    assert pair.read(6) == b"little"
    assert pair.waits_for() == 1


def test_for_an_answer_of_unknown_length_the_first_byte_is_enough(pair: Pair) -> None:
    pair.server.sendall(bytes(SENT))
    pair.stream.expect(SENT)
    pair.read(SENT)
    pair.stream.sendall(b"another request")
    pair.server.sendall(b"answer")
    assert pair.read(6) == b"answer"
    assert pair.waits_for() == 1
