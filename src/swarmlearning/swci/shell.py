"""The shell: shows a session in the documented form, on a terminal with completion and history, else as plain lines."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Final, TextIO

from swarmlearning.swci.language import completions
from swarmlearning.swci.output import Line
from swarmlearning.swci.session import Session

INDENT: Final = "    "
LONGEST_INPUT: Final = 1 << 20
INTERRUPTED: Final = "ERROR : interrupted"


class Screen:
    """Prints what a session yields. `notes`: whether those for people are shown."""

    def __init__(self, session: Session, stream: TextIO, *, notes: bool) -> None:
        self._session = session
        self._stream = stream
        self._notes = notes
        self._marks = False

    @property
    def prompt(self) -> str:
        """The prompt, with the number of commands executed."""
        return f"SWCI:{self._session.number} > "

    def echo(self, text: str) -> None:
        """Shows a line of a script as if it had been typed."""
        self._print(f"{self.prompt}{text}\n")

    def show(self, each: Line) -> None:
        """Shows one line of output."""
        match each.kind:
            case "mark":
                self._print(each.text if self._marks else f"{INDENT}{each.text}")
                self._marks = True
                return
            case "answer":
                shown = f"{self.prompt}{each.text}\n"
            case "error":
                shown = f"{each.text}\n"
            case "note" if not self._notes:
                return
            case _:
                shown = f"{INDENT}{each.text}\n"
        self.end_marks()
        self._print(shown)

    def end_marks(self) -> None:
        """Ends a line of marks."""
        if self._marks:
            self._marks = False
            self._print("\n")

    def _print(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


async def run_script(session: Session, screen: Screen, lines: Iterable[str]) -> None:
    """Executes the lines of a script, each shown before, until one ends the session."""
    for text in lines:
        screen.echo(text)
        await _execute(session, screen, text)
        if session.ended:
            return


async def interact(session: Session, screen: Screen, history: Path) -> None:
    """Executes what is typed, until the session ends or the input does; `history` is the file that keeps it."""
    lines = _typed(session, screen, history) if sys.stdin.isatty() and sys.stdout.isatty() else _read(screen)
    async with aclosing(lines):
        async for text in lines:
            await _interruptible(session, screen, text)
            if session.ended:
                return


async def _execute(session: Session, screen: Screen, text: str) -> None:
    try:
        async with aclosing(session.execute(text)) as lines:
            async for each in lines:
                screen.show(each)
    finally:
        screen.end_marks()


async def _interruptible(session: Session, screen: Screen, text: str) -> None:
    """Executes a line; Ctrl-C ends it, not the shell."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(_execute(session, screen, text))
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled() or (own := asyncio.current_task()) is None or own.cancelling():
            raise
        screen.show(Line(INTERRUPTED, "error"))
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        task.cancel()


async def _read(screen: Screen) -> AsyncGenerator[str, None]:
    """The lines of standard input where no terminal is, shown like those of a script."""
    source, kept, more = sys.stdin.fileno(), b"", True
    while more or kept:
        while more and b"\n" not in kept and len(kept) < LONGEST_INPUT:
            await _readable(source)
            found = os.read(source, 65536)
            kept, more = kept + found, bool(found)
        raw, _, kept = kept.partition(b"\n")
        if raw or more or kept:
            text = raw.decode(errors="backslashreplace").rstrip("\r")
            screen.echo(text)
            yield text


async def _readable(source: int) -> None:
    """Waits until a descriptor can be read."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(source, ready.set)
    except PermissionError:  # a regular file, which always can
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(source)


async def _typed(session: Session, screen: Screen, history: Path) -> AsyncGenerator[str, None]:
    """The lines typed at a terminal."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.shortcuts import CompleteStyle

    class Words(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            for text, typed in completions(document.text_before_cursor, session.names()):
                yield Completion(text, start_position=-typed)

    typing: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)),
        completer=Words(),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
    )
    while True:
        try:
            yield await typing.prompt_async(screen.prompt)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
