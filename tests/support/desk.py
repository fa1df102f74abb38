"""The terminals at which a page is followed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.pages import ROOT, Page
from support.processes import forked_commands
from support.terminal import OWN_NETWORK, Terminal, beside

ADDRESSES: Final = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9")
"""Those of the hosts in the examples: here all of them are this machine's."""


class Desk:
    """A terminal for each prompt's name, in folders beside each other; they share a network that nobody else has."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._terminals = folder, dict[str, Terminal]()
        (folder / "home").mkdir()
        self._commands = forked_commands(folder / "commands")

    def follow(self, page: Page) -> None:
        """Writes the page's files and types its commands, in their order. Fails at the first that fails."""
        begun: set[str] = set()
        names = {command.terminal for block in page.typed for command in block.commands} or {""}
        for name in sorted(names):
            self.terminal(name)
        for block in page.typed:
            if block.file:
                for name in self._terminals:
                    self._write(name, block.file, block.text, block.file in begun)
                begun.add(block.file)
            for command in block.commands:
                answer = self.terminal(command.terminal).type(command.line)
                assert answer.status == 0, f"{page.name}:{block.line}: $ {command.line}\n{answer.output}"

    def terminal(self, name: str) -> Terminal:
        """The terminal of this name, in a folder with what a clone of the repository has."""
        if name not in self._terminals:
            first = next(iter(self._terminals.values()), None)
            folder = self._folder / (name or "site")
            enter = beside(first.pid) if first else OWN_NETWORK
            made = Terminal(folder, self._folder / "home", enter, self._commands)
            for each in ("examples", "scripts", "packaging"):
                (folder / each).symlink_to(ROOT / each)
            (folder / ".venv").symlink_to(sys.prefix)
            self._terminals[name] = made
            if first is None:
                added = "".join(f" && ip address add {each}/32 dev lo" for each in ADDRESSES)
                assert made.type(f"ip link set lo up{added}").status == 0
        return self._terminals[name]

    def _write(self, name: str, file: str, text: str, more: bool) -> None:
        path = self._folder / (name or "site") / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if more else "") + text)

    def close(self) -> None:
        """Ends the terminals, and what runs in them."""
        for terminal in reversed(self._terminals.values()):
            terminal.close()


@contextmanager
def desk(folder: Path) -> Iterator[Desk]:
    """A desk, cleared in the end."""
    made = Desk(folder)
    try:
        yield made
    finally:
        made.close()
