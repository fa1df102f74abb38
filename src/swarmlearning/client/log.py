"""The training log: the callback's logger, and the one error that leaves the client."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from swarmlearning.client.errors import SwarmError
from swarmlearning.tensors.file import TensorFileError

LOG_FORMAT = "%(asctime)s : %(name)s : %(levelname)s : %(message)s"

Logger: TypeAlias = "logging.Logger | logging.LoggerAdapter[Any]"


def logger_for(given: Any) -> Logger:
    """Returns the script's logger, or the documented one: `SwarmCallback`, INFO, to stdout, each line once."""
    if isinstance(given, logging.Logger | logging.LoggerAdapter):
        return given
    if given is not None:
        raise SwarmError(f"logger has to be a logging.Logger; it is a {type(given).__name__}")
    logger = logging.getLogger("SwarmCallback")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter(LOG_FORMAT))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False  # a root handler of the script would print each line a second time
    return logger


@contextmanager
def failing_with(prefix: str = "") -> Iterator[None]:
    """Turns an error inside into one `SwarmError`. It is not logged: an error is either raised or logged."""
    try:
        yield
    except (SwarmError, TensorFileError) as error:
        raise SwarmError(f"{prefix}{error}") from error.__cause__


def log_box(logger: Logger, *lines: str) -> None:
    """Logs these lines within a frame of asterisks."""
    width = max(map(len, lines))
    for line in ("*" * (width + 8), *(f"*** {line:{width}} ***" for line in lines), "*" * (width + 8)):
        logger.info(line)
