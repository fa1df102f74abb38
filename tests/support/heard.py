"""What is logged, as tests wait for it."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager


class Heard(logging.Handler):
    """The messages of one logger, in their order; used in the event loop in which they are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[str] = []
        self._new: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append(record.getMessage())
        self._new.put_nowait(record.getMessage())

    async def until(self, text: str) -> None:
        """Waits for the next message that contains this."""
        while text not in await self._new.get():
            pass


@contextmanager
def hearing(name: str) -> Iterator[Heard]:
    """Inside the block all messages of this logger are heard, from INFO on."""
    logger, handler = logging.getLogger(name), Heard()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)
