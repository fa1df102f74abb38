"""Whether the line that a waiting site shows names those whom it waits for."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.site import Site

EARLIER = "earlier leaders could not fetch models from "


def names_those_missing(text: str, sites: Mapping[str, "Site"]) -> bool:
    """Returns whether the line names sites that are gone or that nobody can fetch from, or what else is missing.

    Where a leader has the models of such sites already, these are named as those that earlier leaders could not reach.
    """
    gone = [uid for uid, site in sites.items() if site.dead]
    walled = [uid for uid, site in sites.items() if site.walled]
    _, _, earlier = text.partition(EARLIER)
    return (
        any(f"{uid} ({how}" in text or uid not in text for uid in gone for how in ("lost", "left"))
        or "can lead" in text
        or "nobody can give it the latest model" in text
        or any(f"{uid} (others cannot fetch" in text for uid in walled)
        or not {*gone, *walled}.isdisjoint(earlier.split(", "))
    )
