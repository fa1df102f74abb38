"""Reports to the process that started this one that it is ready: one JSON line on a file descriptor, then its end."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

ReportReady: TypeAlias = Callable[[dict[str, str]], None]
"""Called by a node once, when it is ready, with the facts that it reports."""


class Ready:
    """`fd` is the inherited descriptor to write to, None when no report is wanted."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        if fd is not None:
            os.set_inheritable(fd, False)

    def report(self, facts: dict[str, str]) -> None:
        """Writes the line and closes the descriptor; a reader that is gone by now does not concern the node."""
        if self._fd is None:
            return
        with suppress(BrokenPipeError), os.fdopen(self._fd, "wb") as file:
            file.write(
                json.dumps(facts, separators=(",", ":")).encode() + b"\n"
            )  # a path need not be UTF-8: json escapes what is not
        self._fd = None
