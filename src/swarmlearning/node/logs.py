"""Logging as users of the original know it: `2026-11-21 22:50:25,123 : swarm.SN : INFO : message`."""

import logging
import sys
from typing import Literal

FORMAT = "%(asctime)s : %(name)s : %(levelname)s : %(message)s"
WIDTH = 58

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


def start_logging(level: Level) -> None:
    """Everything of ours goes to standard output, one line a record."""
    logging.basicConfig(format=FORMAT, level=level, stream=sys.stdout, force=True)
    for chatty in ("asyncio", "aiohttp", "uvicorn", "filelock"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def banner(kind: str) -> str:
    """The box at the head of a node's log."""
    edge = "#" * WIDTH
    lines = [edge, f"##{f'SWARM LEARNING {kind} NODE':^{WIDTH - 4}}##", edge]
    return "\n".join(lines)
