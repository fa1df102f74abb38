"""The README and the pages of docs/: their blocks, and how each block of commands is run.

A `console` block shows commands behind a prompt (`$`, or `name$` for the terminal of that name), one a line unless the
line ends in a backslash, and perhaps some of their output. What a reader needs not see stands in comments:

    <!-- needs: kubernetes -->     before a block: it cannot be run here, for want of that
    <!-- run by: tests/… -->       before a block, or at the top for the whole page: the test that runs it
    <!-- file: train.py -->        before any other block: it is that file, in every terminal's folder (a further one of
                                   that name is appended)
    <!-- type: name$ command -->   typed too, and not shown
    <!-- with: swarm -->           at the top: the page is typed beside others where a swarm is at work (tests/docs);
                                   `etcd`: by itself, where that is installed

`python -m support.pages` prints how many of them `make docs` has run, and who runs the others.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from support.tools import CHECKS, lacks

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
ABSENT: Final = ("kubernetes", "gpu", "spire", "systemd", "containers")
"""What blocks may need that no machine of the tests is sure to have."""
RUN_BY_DOCS: Final = ("tests/docs", "tests/system/test_walkthrough.py")
"""What `make docs` runs; both need network namespaces, and skip without."""

_BLOCK: Final = re.compile(
    r"((?:^ *<!-- [^\n]*? -->\n)*)^( *)```+(\{?[\w-]*\}?)[^\n]*\n(.*?)^ *```+ *$|^<!-- (type: [^\n]*?) -->$",
    re.MULTILINE | re.DOTALL,
)
_REMARK: Final = re.compile(r"<!-- (needs|run by|file|type|with): (.+?) -->")
_PROMPT: Final = re.compile(r"(?:([a-z][a-z0-9-]*))?\$ +(.+)")


class Command(NamedTuple):
    """What is typed at a terminal; its name is empty for the page's only one."""

    terminal: str
    line: str


class Block(NamedTuple):
    """A block of a page, with what stands in the comments before it."""

    line: int
    language: str
    text: str
    needs: str = ""
    run_by: str = ""
    file: str = ""
    hidden: tuple[str, ...] = ()

    @property
    def commands(self) -> list[Command]:
        """What it has to be typed, hidden commands first."""
        shown = re.sub(r"\\\n\s*", "", self.text) if self.language == "console" else ""
        lines = [*self.hidden, *shown.splitlines()]
        return [Command(found[1] or "", found[2]) for line in lines if (found := _PROMPT.fullmatch(line.strip()))]


class Page(NamedTuple):
    """A page; `run_by` and `place` hold for all of it."""

    name: str
    blocks: Sequence[Block]
    run_by: str = ""
    place: str = ""

    @property
    def shown(self) -> list[Block]:
        """Its blocks of commands."""
        return [block for block in self.blocks if block.language == "console"]

    @property
    def typed(self) -> list[Block]:
        """The blocks that are typed, or written to files, when the page is followed."""
        if self.run_by:
            return []
        return [block for block in self.blocks if not block.needs and not block.run_by]

    @property
    def followed(self) -> bool:
        """True if something has to be typed."""
        return any(block.commands for block in self.typed)


def pages() -> list[Page]:
    """All that are written by hand: the README and the pages of docs/."""
    written = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
    return [read(path) for path in written]


def page(name: str) -> Page:
    """The page of docs/ of this name."""
    return read(DOCS / f"{name}.md")


def read(path: Path) -> Page:
    """Reads a page."""
    text = path.read_text()
    head = dict(_REMARK.findall(re.split("^# ", text, maxsplit=1, flags=re.MULTILINE)[0]))
    return Page(path.stem, list(_blocks(text)), head.get("run by", ""), head.get("with", ""))


def _blocks(text: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start(4) if found[4] is not None else found.start()) + 1
        remarks = _REMARK.findall(found[1] or "")
        told = dict(remarks)
        hidden = tuple(value for key, value in remarks if key == "type")
        if found[5]:
            yield Block(line, "", "", hidden=(found[5].removeprefix("type: "),))
            continue
        body = re.sub(rf"^{found[2]}", "", found[4], flags=re.MULTILINE)
        yield Block(line, found[3], body, told.get("needs", ""), told.get("run by", ""), told.get("file", ""), hidden)


class Count(NamedTuple):
    """Of all blocks of commands: how many `make docs` runs here, and by what they need, or by who runs them, those
    that it does not."""

    run: int
    needs: Counter[str]
    elsewhere: Counter[str]


def count(found: Sequence[Page], lacking: Callable[[str], object] = lacks) -> Count:
    """Counts them; `lacking` tells whether a tool is missing on this machine."""
    run, needs, elsewhere = 0, Counter[str](), Counter[str]()
    for each in found:
        tools = [tool for tool in ("netns", each.place) if tool in CHECKS and lacking(tool)]
        for block in each.shown:
            by = block.run_by or each.run_by
            if block.needs or (tools and not by):
                needs[block.needs or tools[0]] += 1
            elif by and by not in RUN_BY_DOCS:
                elsewhere[by] += 1
            elif by and lacking("netns"):
                needs["netns"] += 1
            else:
                run += 1
    return Count(run, needs, elsewhere)


def main() -> None:
    """Prints how many pages and blocks there are, and what those need that cannot be run."""
    found, generated = pages(), len(list((DOCS / "reference").glob("*.md")))
    counted = count(found)
    if counted.needs:
        print("not run:", ", ".join(f"{number} need {need}" for need, number in sorted(counted.needs.items())))
    if counted.elsewhere:
        print("run by others:", ", ".join(f"{number} by {by}" for by, number in sorted(counted.elsewhere.items())))
    print(
        f"docs: {len(found) - 1 + generated} pages, {counted.run} command blocks run, "
        f"{counted.needs.total()} need what is not here"
    )


if __name__ == "__main__":
    main()
