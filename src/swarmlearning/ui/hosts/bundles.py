"""The bundles that the UI has: one in its folder, or several in folders below it, of which one is the default."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from swarmlearning.ui.hosts.bundle import SUMS, BundleError, stated_version

MOST: Final = 32
_RELEASE: Final = re.compile(r"\d+(\.\d+)*")


class StatedBundle(msgspec.Struct, frozen=True):
    """A bundle by its list; its files are checked when it is used. `name`: of its folder."""

    name: str
    version: str
    folder: str


def stated_bundles(folder: Path) -> tuple[StatedBundle, ...]:
    """The bundles there, the newest first. Raises `BundleError` where there is none."""
    if (folder / SUMS).exists() or not folder.is_dir():
        return (StatedBundle(folder.name, stated_version(folder), str(folder)),)
    within = sorted(each for each in folder.iterdir() if (each / SUMS).is_file())[:MOST]
    if not within:
        raise BundleError(f"{folder} has no bundle (make bundle)")
    found = [StatedBundle(each.name, stated_version(each), str(each)) for each in within]
    return tuple(sorted(found, key=lambda each: (_order(each.version), each.name), reverse=True))


def chosen(bundles: Sequence[StatedBundle], name: str) -> StatedBundle:
    """The bundle of this name, else the first."""
    return next((each for each in bundles if each.name == name), bundles[0])


def _order(version: str) -> tuple[tuple[int, ...], bool]:
    """Releases by their numbers; what comes before a release, such as 0.2.0rc1, before it."""
    release = _RELEASE.match(version)
    numbers = tuple(map(int, release[0].split("."))) if release else ()
    return numbers, bool(release) and not re.search(r"(rc|a|b|dev)\d*", version)
