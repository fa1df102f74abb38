"""The SL's end of the local channel: one ML process at a time on a Unix-domain socket.

The socket and the hand-over files lie in one directory that the ML process shares; see `channel/messages.py`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from swarmlearning.channel.address import short_path
from swarmlearning.channel.framing import LENGTH, ChannelError, body_length, decode_from_ml, encode
from swarmlearning.channel.messages import Failed, FromML, FromSL
from swarmlearning.node.errors import NodeError

logger = logging.getLogger("swarm.mlApp")

SOCKET = "ml.sock"
SEND_SECONDS = 30.0
TAKEN = "another SwarmCallback or ML process is connected to this SL node; each needs an SL of its own"

OnMessage = Callable[[FromML], Coroutine[Any, Any, None]]
OnLeft = Callable[[], None]


class MLChannel:
    """Serves `directory/ml.sock`. `on_message` is awaited for each message, in order; `on_left` when the ML is gone."""

    def __init__(self, directory: Path, on_message: OnMessage, on_left: OnLeft) -> None:
        self.directory = directory
        self.path = directory / SOCKET
        self._on_message = on_message
        self._on_left = on_left
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def attached(self) -> bool:
        """Whether an ML process is connected."""
        return self._writer is not None

    async def start(self) -> None:
        """Listens; what an earlier process left in the directory is removed. Raises `NodeError`."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for left in (self.path, *self.directory.glob("*.safetensors"), *self.directory.glob(".*.part")):
                left.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with short_path(self.path) as address:
                listener.bind(address)
            self._server = await asyncio.start_unix_server(self._serve, sock=listener)
        except OSError as error:
            raise NodeError(f"{self.path}: cannot listen for the ML process: {error}") from error

    async def stop(self) -> None:
        """Stops listening and drops the ML process."""
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            self._writer.close()

    async def send(self, message: FromSL) -> None:
        """Sends to the ML process; without one, or when it goes away meanwhile, the message is dropped."""
        writer = self._writer
        if writer is None:
            return
        try:
            writer.write(encode(message))
            async with asyncio.timeout(SEND_SECONDS):
                await writer.drain()
        except (OSError, TimeoutError) as error:
            logger.warning("the ML process does not take a message: %s", str(error) or "timed out")
            writer.close()

    def file(self, name: str) -> Path:
        """The hand-over file of this name. Raises `ChannelError` for anything but a plain name."""
        if Path(name).name != name or name in ("", ".", "..", SOCKET):
            raise ChannelError(f"{name!r} is not a plain file name")
        return self.directory / name

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:
            writer.write(encode(Failed(TAKEN)))
            writer.close()
            return
        self._writer = writer
        try:
            while True:
                length = body_length(await reader.readexactly(LENGTH.size))
                await self._on_message(decode_from_ml(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            logger.info("The ML process has closed its channel")
        except ChannelError as error:
            logger.error("ML process: %s", error)
            await self.send(Failed(str(error)))
        except asyncio.CancelledError:
            return  # the node ends; asyncio's server reports a cancelled handler as an error
        finally:
            self._writer = None
            writer.close()
            self._on_left()
