"""The two FIFOs between the original's client and its SL, opened and used without ever blocking.

The client opens the response FIFO to read and then the request FIFO to write, and each of the two waits for the other
end. So both ends are there from the beginning: the response FIFO is open for reading and writing here (fifo(7)), and
the request FIFO has a writer of ours until a client is there. From then on the end of that stream means that the client
is gone, and only that.
"""

import asyncio
import errno
import logging
import os
import select
import stat
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from swarmlearning.bridge.access import OPEN_FLAGS, Access, problem
from swarmlearning.bridge.errors import BridgeError, Left, LostTrack, OutOfTurn

logger = logging.getLogger("swarm.mlApp")

STALL_SECONDS: Final = 60.0
"""Seconds that the rest of a message that has begun may be missing, in either direction."""
_PIECE: Final = 2**20


class Pipes:
    """The FIFOs `request` (from the ML process) and `response` (to it). One task uses them at a time."""

    def __init__(self, request: Path, response: Path, access: Access, stall_seconds: float = STALL_SECONDS) -> None:
        self._paths = (request, response)
        self._access = access
        self._stall_seconds = stall_seconds
        self._request = self._response = self._placeholder = -1

    def open(self) -> bool:
        """Makes the FIFOs that are not there, and opens both; returns True if an ML process had them open already.

        Raises `BridgeError`, and leaves no FIFO behind that it has made.
        """
        made = set[Path]()
        try:
            self._make(made)
            there = self._open_both(made)
        except OSError as error:
            self.close()
            for useless in made:  # a client would wait in it for ever
                useless.unlink(missing_ok=True)
            raise BridgeError(f"{error.filename}: cannot create pipe: {problem(error)}") from error
        if there:
            self._met()  # it has the other end of both, and its leaving must be seen
        for path in self._paths:
            print(f"{datetime.now().isoformat()} {path}: pipe created", flush=True)
        return there

    def close(self) -> None:
        """Closes both: an ML process that is there sees the end of its streams."""
        for descriptor in (self._request, self._response, self._placeholder):
            if descriptor >= 0:
                os.close(descriptor)
        self._request = self._response = self._placeholder = -1

    def expect(self) -> None:
        """Prepares for another ML process after one has left: what that has not read is removed.

        Nothing is closed, since the next one may be there already. Raises `BridgeError`.
        """
        with suppress(BlockingIOError):
            while os.read(self._response, _PIECE):
                pass
        try:
            self._placeholder = self._open(self._paths[0], os.O_WRONLY)
        except OSError:  # the FIFO was removed or replaced
            self.renew()

    def renew(self) -> None:
        """Disconnects an ML process that still has the FIFOs open by replacing them. Raises `BridgeError`."""
        self.close()
        self.remove()
        self.open()

    def remove(self) -> None:
        """Removes the FIFOs: a process that opened one now would wait for ever for the other end."""
        for path in self._paths:
            with suppress(OSError):
                path.unlink()

    # --- what comes

    async def read(self, count: int, *, begun: bool = True) -> memoryview:
        """Returns exactly so many bytes. Where no message has `begun`, the first may come at any time.

        Raises `Left`, and `LostTrack` when the rest stays away.
        """
        received = bytearray()
        while len(received) < count:
            try:
                piece = os.read(self._request, min(count - len(received), _PIECE))
            except BlockingIOError:
                whole = f"wanted: {count} bytes, got {len(received)} bytes"
                await self._wait_for_bytes(whole if begun or received else None)
                continue
            if not piece:
                raise Left(f"wanted: {count} bytes, got {len(received)} bytes: pipe closed?")
            received += piece
            self._met()
        return memoryview(received)

    async def disturbed(self) -> None:
        """Waits, while it is the SL's turn, until the client leaves or sends, and raises `Left` or `OutOfTurn`."""
        while True:
            await self._ready(to_write=False)
            self._check_silence()

    # --- what goes

    async def write(self, *pieces: bytes | memoryview) -> None:
        """Writes all of it.

        Raises `Left` or `OutOfTurn` when the ML process does not wait for it, `LostTrack` when it does not read on.
        """
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                try:
                    rest = rest[os.write(self._response, rest[:_PIECE]) :]
                except BlockingIOError:
                    self._check_silence()
                    await self._wait_for_room()

    def write_now(self, message: bytes) -> None:
        """Writes as much of it as there is room for, without waiting."""
        with suppress(OSError):
            os.write(self._response, message)

    # --- inside

    def _make(self, made: set[Path]) -> None:
        """Makes the FIFOs that are not there, and adds them to `made`."""
        request, response = self._paths
        if request == response:
            raise OSError(0, "one pipe cannot be both, for requests and for responses", str(request))
        for path in self._paths:
            self._access.check_parents(path)
            try:
                os.mkfifo(path, 0o600)
            except FileExistsError:
                continue
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error
            made.add(path)

    def _open_both(self, made: set[Path]) -> bool:
        # Each end is opened once and stays open: a client that waits for it goes on at once, and must still find it.
        request, response = self._paths
        there = _is_read(response)
        self._response = self._open(response, os.O_RDWR, made=response in made)
        self._request = self._open(request, os.O_RDONLY, made=request in made)
        self._placeholder = self._open(request, os.O_WRONLY)
        return there

    def _open(self, path: Path, flags: int, *, made: bool = False) -> int:
        descriptor = os.open(path, flags | OPEN_FLAGS)
        try:
            self._access.secure(descriptor, str(path), stat.S_IFIFO, made=made)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _met(self) -> None:
        if self._placeholder >= 0:
            os.close(self._placeholder)
            self._placeholder = -1

    def _check_silence(self) -> None:
        poll = select.poll()
        poll.register(self._request, select.POLLIN)
        for _, events in poll.poll(0):
            if events & select.POLLIN:
                raise OutOfTurn("the ML process sends while it should wait for an answer")
            raise Left("the ML process has closed its pipes")

    async def _wait_for_bytes(self, incomplete: str | None) -> None:
        """Waits to read. `incomplete` describes the message that has begun; None: without limit."""
        try:
            async with asyncio.timeout(self._stall_seconds if incomplete else None):
                await self._ready(to_write=False)
        except TimeoutError:
            raise LostTrack(f"{incomplete}: nothing more came for {self._stall_seconds:.0f} s") from None

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self._ready(to_write=True)
        except TimeoutError:
            raise LostTrack(f"the ML process has not read on for {self._stall_seconds:.0f} s") from None

    async def _ready(self, *, to_write: bool) -> None:
        """Until there is something to be read, or that the other end is gone; or room, if that is wanted."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(self._request, wake)
        if to_write:
            loop.add_writer(self._response, wake)
        try:
            await ready
        finally:
            loop.remove_reader(self._request)
            if to_write:
                loop.remove_writer(self._response)


def _is_read(fifo: Path) -> bool:
    """Returns True if a process has it open to read, or waits for that."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | OPEN_FLAGS))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    return True
