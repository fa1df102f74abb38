"""The SL's end of the local channel: one ML process at a time on a Unix-domain socket.

The socket and the hand-over files lie in one directory that the ML process shares; see `channel/messages.py`.

Who can use it can hand over models in this site's name: folder and socket are their owner's alone, whatever the umask,
or also one group's, where the ML process runs as another user (`handing.py`). Who connects says at once what for: a
connection that sends no message is closed, and few of them wait at a time.

An ML process is gone when its stream ends, or when the process that connected has ended: a process that it has forked
may keep the socket open, and would otherwise stand for it.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from swarmlearning.channel.address import short_path
from swarmlearning.channel.framing import LENGTH, ChannelError, body_length, decode_from_ml, encode
from swarmlearning.channel.messages import Failed, FromML, FromSL
from swarmlearning.node.errors import NodeError
from swarmlearning.sl.handing import prepare_folder

logger = logging.getLogger("swarm.mlApp")

SOCKET = "ml.sock"
TAKEN = (
    "another SwarmCallback or ML process is connected to this SL node; each needs an SL of its own. If it is an "
    "earlier callback of this process, which training no longer uses, call its abandon() first"
)
_MOST_UNREAD: Final = 4 * 2**20
"""Bytes that an ML process may leave unread; messages are small, so it has stopped reading long before."""

TURN_SECONDS: Final = 3.0
"""Seconds that a new ML process may wait for the one before: a script's next callback may connect before the end of
its last one has been read here."""

FIRST_MESSAGE_SECONDS: Final = 10.0
"""Seconds that a connection may take for its first message: a script sends it as soon as it is connected."""
_MOST_WAITING: Final = 16
"""Connections that wait for their turn at a time; more are refused at once."""

OnMessage = Callable[[FromML], Coroutine[Any, Any, None]]
OnLeft = Callable[[], None]


class MLChannel:
    """Serves `directory/ml.sock`. `on_message` is awaited for each message, in order; `on_left` when the ML is gone.

    `group`: the ID of the group that may connect too, or None.
    """

    def __init__(self, directory: Path, on_message: OnMessage, on_left: OnLeft, group: int | None = None) -> None:
        self.directory = directory
        self.path = directory / SOCKET
        self.group = group
        self._on_message = on_message
        self._on_left = on_left
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def start(self) -> None:
        """Listens; what an earlier process left in the directory is removed. Raises `NodeError`."""
        try:
            prepare_folder(self.directory, self.group)
            for left in (self.path, *self.directory.glob("*.safetensors"), *self.directory.glob(".*.part")):
                left.unlink(missing_ok=True)
            made = self.path.with_name(f".{SOCKET}.part")  # who waits for the socket may use it once it is there
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with short_path(made) as address:
                listener.bind(address)
            if self.group is not None:
                os.chown(made, -1, self.group)
                made.chmod(0o660)
            self._server = await asyncio.start_unix_server(self._serve, sock=listener)
            made.rename(self.path)
        except OSError as error:
            raise NodeError(f"{self.path}: cannot listen for the ML process: {error}") from error

    async def stop(self) -> None:
        """Stops listening and drops the ML process."""
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            self._writer.close()

    def send(self, message: FromSL) -> None:
        """Sends to the ML process; without one the message is dropped. One that has stopped reading is dropped too."""
        writer = self._writer
        if writer is None or writer.is_closing():
            return
        writer.write(encode(message))
        if writer.transport.get_write_buffer_size() > _MOST_UNREAD:
            logger.warning("The ML process does not read its messages: its channel is closed")
            writer.transport.abort()

    @property
    def process(self) -> int:
        """The process ID of the ML process that is connected; 0: none, or one that is not seen from here."""
        writer = self._writer
        with suppress(AttributeError, OSError):
            return _pid_behind(writer) if writer is not None else 0
        return 0

    def file(self, name: str) -> Path:
        """The hand-over file of this name. Raises `ChannelError` for anything but a plain name."""
        if Path(name).name != name or not name.isprintable() or name in ("", ".", "..", SOCKET):
            raise ChannelError(f"{name!r} is not a plain file name")
        return self.directory / name

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # the node ends; asyncio's server would report it as an error
            if not await self._gets_its_turn():
                writer.write(encode(Failed(TAKEN)))
                writer.close()
                return
            try:
                await self._listen(reader, writer)
            finally:
                self._turn.release()

    async def _gets_its_turn(self) -> bool:
        if self._waiting >= _MOST_WAITING:
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(TURN_SECONDS):
                return await self._turn.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        try:
            with _ending_with_its_process(writer):
                async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
                    message = await _received(reader)
                while True:
                    await self._on_message(message)
                    message = await _received(reader)
        except TimeoutError:
            logger.warning("A connection to the ML process' channel sent no message: it is closed")
        except (asyncio.IncompleteReadError, ConnectionError):
            logger.info("The ML process has closed its channel")
        except ChannelError as error:
            logger.error("ML process: %s", error)
            self.send(Failed(str(error)))
        finally:
            self._writer = None
            writer.close()
            self._on_left()


async def _received(reader: asyncio.StreamReader) -> FromML:
    """The next message. Raises `ChannelError`, and `IncompleteReadError` at the end of the stream."""
    length = body_length(await reader.readexactly(LENGTH.size))
    return decode_from_ml(await reader.readexactly(length))


@contextmanager
def _ending_with_its_process(writer: asyncio.StreamWriter) -> Iterator[None]:
    """Inside the block, the stream ends when the process that connected ends, after what it has sent."""
    watched = _process_behind(writer)
    if watched is None:
        yield
        return
    loop, connection = asyncio.get_running_loop(), socket.socket(fileno=os.dup(_descriptor(writer)))

    def end() -> None:
        loop.remove_reader(watched)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RD)  # what lies in the socket can still be read

    loop.add_reader(watched, end)
    try:
        yield
    finally:
        loop.remove_reader(watched)
        connection.close()
        os.close(watched)


def _process_behind(writer: asyncio.StreamWriter) -> int | None:
    """A descriptor that becomes readable when the process that connected has ended; None where there is none.

    There is none outside Linux, and for a process of another container.
    """
    try:
        pid = _pid_behind(writer)
        return os.pidfd_open(pid) if pid > 0 else None
    except (AttributeError, OSError):
        return None


def _pid_behind(writer: asyncio.StreamWriter) -> int:
    """The ID of the process that connected; 0 for one of another container. Raises AttributeError or OSError."""
    with socket.socket(fileno=os.dup(_descriptor(writer))) as connection:
        size = struct.calcsize("3i")
        return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0])


def _descriptor(writer: asyncio.StreamWriter) -> int:
    return int(writer.get_extra_info("socket").fileno())
