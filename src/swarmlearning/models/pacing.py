"""Keeps what models move within the limits of a site (`bandwidth.py`): one bucket for each direction, through which all
its connections pass.

Whoever moves bytes says how many, and waits for as long as it is told: so bytes flow in small pieces, at no moment more
than a tenth of a second's worth ahead. A site without limits has no buckets, and nothing of this runs.

What is counted is what TLS carries: bytes of models, of chunk lists, and what else file servers say. TCP and IP add
some four percent. The ledger's transactions and blocks are not counted, nor anything else that is not a file server's.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from swarmlearning.models.bandwidth import Caps, Rates

PIECE_SECONDS: Final = 0.05
"""What moves at once: so many seconds' worth."""
CREDIT_SECONDS: Final = 0.05
"""What was not used for so long may be made up for: threads wake up late."""
_LARGEST: Final = 2**18

logger = logging.getLogger("swarm.SL")


class Bucket:
    """One direction of a link. `rate`: bytes a second now, 0 without limit. Any thread may call."""

    def __init__(self, rate: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = Lock()
        self._free = 0.0  # when all that was let through will have had its time

    def piece(self) -> int:
        """Bytes to move at once, at least one."""
        rate = self._rate()
        return min(_LARGEST, max(1, int(rate * PIECE_SECONDS))) if rate else _LARGEST

    def turn(self, size: int) -> float:
        """Sets time aside for so many bytes, after all that others have had; returns the seconds to wait for it."""
        rate = self._rate()
        if not rate:
            return 0.0
        with self._lock:
            now = self._clock()
            begin = max(self._free, now - CREDIT_SECONDS)
            self._free = begin + size / rate
            return max(0.0, begin - now)

    def back(self, size: int) -> None:
        """So many bytes for which time was set aside have not come."""
        rate = self._rate()
        if rate and size:
            with self._lock:
                self._free -= size / rate


class Bandwidth:
    """The limits of a site at work. `now`: what its clock shows; `clock`: seconds that never go back."""

    def __init__(
        self, caps: Caps, now: Callable[[], datetime] = datetime.now, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._caps = caps
        self._now = now
        self.up = Bucket(lambda: self.rates().up, clock)
        self.down = Bucket(lambda: self.rates().down, clock)

    def rates(self) -> Rates:
        """The limits that hold now."""
        return self._caps.at(self._now())

    def limits(self) -> tuple[int | None, int | None]:
        """The same, up and down; None for a direction that is never limited."""
        now, ever = self.rates(), self._caps.ever
        return now.up if ever.up else None, now.down if ever.down else None


def limited(caps: Caps) -> Bandwidth | None:
    """The limits of a site that has some, which it writes to its log with the time that its clock shows."""
    if not caps:
        return None
    logger.info("Bandwidth for models: %s; it is %s here", caps, datetime.now().astimezone().strftime("%H:%M %Z"))
    return Bandwidth(caps)


def paced(app: ASGIApp, bandwidth: Bandwidth | None) -> ASGIApp:
    """The application, whose answers pass through the limit for sending, and what is sent to it through the other one;
    the very same without limits."""
    if bandwidth is None:
        return app
    bucket, down = bandwidth.up, bandwidth.down

    async def within_limits(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_slowly(message: Message) -> None:
            body, more = memoryview(message.get("body", b"")), message.get("more_body", False)
            if not body:
                await send(message)
            while body:
                piece = body[: bucket.piece()]
                body = body[len(piece) :]
                await asyncio.sleep(bucket.turn(len(piece)))
                await send({**message, "body": piece, "more_body": more or bool(body)})

        async def receive_slowly() -> Message:
            message = await receive()
            if body := message.get("body"):
                await asyncio.sleep(down.turn(len(body)))
            return message

        await app(scope, receive_slowly, send_slowly)

    return within_limits
