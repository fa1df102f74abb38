"""What lies on this host: in data directories of nodes, folders of runs, and wherever else logs are kept.

Only files are taken whose names say what they are: logs, records of nodes, reports of crashes, settings; never keys,
models or what scripts have written. No link is followed.
"""

import os
import re
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from swarmlearning.cli.chainfiles import CHAIN_FILE
from swarmlearning.collect.archive import Archive, CollectError
from swarmlearning.collect.content import Content, Source
from swarmlearning.collect.files import add_data, add_text
from swarmlearning.collect.ledger import MOST_BLOCKS, excerpt
from swarmlearning.files import open_plain
from swarmlearning.node import crashes, stacks
from swarmlearning.node.facts import cleaned, directory_facts
from swarmlearning.ordering.local import extent, iterate_chain_file
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.redaction import redacted
from swarmlearning.views.names import displayed, escaped

DEEPEST: Final = 8
MOST_LOOKED_AT: Final = 20_000
LARGEST_SETTINGS: Final = 256 * 1024
LOG: Final = re.compile(r"(?:.+\.)?log(?:\.[0-9]+)?")
RECORDS: Final = frozenset(
    (stacks.FILE, "report.json", "node.json", "process.json", "part.json", "warden.json", "end.json", "peers.json")
)
SETTINGS: Final = (".yaml", ".yml", ".toml")
"""Of files at the top of a folder: profiles, policies, what a network was founded with."""
SKIPPED: Final = frozenset(
    (
        *("models", "spares", "identity", "cert", "certs", "ca", "verified"),
        *("environments", "volumes", "home", "view", "shared"),
    )
)


def add_folder(
    archive: Archive, content: Content, folder: Path, number: int, known: Collection[str], most: int
) -> None:
    """Adds what lies in a folder, at most so many bytes, the newest first. Raises `CollectError`."""
    if not folder.is_dir():
        raise CollectError(f"{folder}: there is no such folder; name data directories of nodes or folders of runs")
    source = Source(displayed(str(folder), 200))
    content.sources.append(source)
    place = f"folders/{number}-{folder.resolve().name}"
    found, complete = _found(folder)
    if not complete:
        source.missing["files"] = f"only the first {MOST_LOOKED_AT} entries of the folder were looked at"
    left = most
    for path in found:
        name = str(path.relative_to(folder))
        try:
            text, note = _text(path, left)
        except OSError as error:
            source.missing[displayed(name, 200)] = error.strerror or type(error).__name__
            continue
        if not text:
            continue
        left -= len(text)
        add_text(archive, source, f"{place}/{name}", redacted(escaped(text, keep="\n\t"), known), note)
    for directory in {path.parent for path in found if path.name == "node.json"}:
        facts = cleaned(directory_facts(directory), frozenset(known))
        source.facts |= {"state": "runs" if isinstance(facts["health"], dict) else "does not run"}
        inside = "" if directory == folder else f"/{directory.relative_to(folder)}"
        add_data(archive, source, f"{place}{inside}/facts.json", facts)
    if not source.entries and not source.missing:
        source.missing["files"] = "no log, record or report is in it"
    _add_chain(archive, content, source, place, folder)


def _found(folder: Path) -> tuple[list[Path], bool]:
    """The files to take, the newest first, and whether all of the folder was looked at."""
    found: list[tuple[float, Path]] = []
    waiting, looked = deque([(folder, 0)]), 0
    while waiting:
        directory, depth = waiting.popleft()
        with suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                looked += 1
                if looked > MOST_LOOKED_AT:
                    return [path for _, path in sorted(found, reverse=True)], False
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        if depth < DEEPEST and entry.name not in SKIPPED:
                            waiting.append((Path(entry), depth + 1))
                    elif entry.is_file(follow_symlinks=False) and _is_wanted(entry, directory, depth):
                        found.append((entry.stat(follow_symlinks=False).st_mtime, Path(entry)))
    return [path for _, path in sorted(found, reverse=True)], True


def _is_wanted(entry: "os.DirEntry[str]", directory: Path, depth: int) -> bool:
    if LOG.fullmatch(entry.name) or entry.name in RECORDS:
        return True
    if directory.name == crashes.FOLDER:
        return entry.name.endswith(".txt")
    small = entry.stat(follow_symlinks=False).st_size <= LARGEST_SETTINGS
    return depth == 0 and entry.name.endswith(SETTINGS) and small


def _text(path: Path, most: int) -> tuple[str, str]:
    """The end of a file, from a line's beginning on, and a remark where that is not all. Raises `OSError`."""
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - most))
        data = file.read(most)
    if size <= most:
        return data.decode(errors="replace"), ""
    return data.partition(b"\n")[2].decode(errors="replace"), f"only the last of {size} bytes"


def _add_chain(archive: Archive, content: Content, source: Source, place: str, folder: Path) -> None:
    """The ledger of a data directory or a run, of which the first one is drawn."""
    for chain in (folder / CHAIN_FILE, folder / "sn" / CHAIN_FILE, *sorted(folder.glob(f"*/{CHAIN_FILE}"))[:1]):
        if chain.is_file() and content.chronicle is None:
            blocks: list[bytes] = []
            try:
                heights = extent(chain)
                blocks.extend(iterate_chain_file(chain, max(heights.start, heights.stop - MOST_BLOCKS)))
            except OrderingError as error:
                source.missing["ledger"] = displayed(str(error), 300)
            content.chronicle, lines = excerpt(blocks)
            add_text(archive, source, f"{place}/ledger.txt", lines, f"the newest {len(blocks)} blocks")
            return
