"""How the files of a training's models are cut, as an SL needs it to work with slices of them."""

import os
from pathlib import Path
from typing import Final

from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.slices import chunks_between
from swarmlearning.ledger.world import World
from swarmlearning.merge.streaming import Range
from swarmlearning.tensors.digest import Format, Layout

SINCE: Final = 3
"""The version of the rules by which rounds may be merged in slices."""

NOTHING: Final = Range(0, 0)
"""Of the data section: a slice of a model with few chunks may have none."""


class NoLayout(Exception):
    """This site has no model from which it knows how the round's are cut."""


def format_of(world: World) -> Format:
    """That of the names of models under the rules in force."""
    return 2 if network.network(world).rules_version >= SINCE else 1


def chunks_of(layout: Layout, start: int, stop: int) -> range:
    """The chunks of a slice that lies between these units: data chunks, and with the first unit the header."""
    data = chunks_between(start, stop, layout.count - 1)
    return range(data.start + 1 if start else 0, data.stop + 1)


def data_in(layout: Layout, chunks: range) -> Range | None:
    """The bytes of the data section in these chunks; None where there are none."""
    data = range(max(1, chunks.start), chunks.stop)
    if not data or layout.header is None:
        return None
    return Range(layout.bounds(data[0])[0] - layout.header, layout.bounds(data[-1])[1] - layout.header)


def copy_start(source: Path, target: Path, size: int) -> None:
    """The first `size` bytes of `source`, put into `target`."""
    with source.open("rb", buffering=0) as file, target.open("r+b", buffering=0) as out:
        start = file.read(size)
        os.pwrite(out.fileno(), start, 0)
