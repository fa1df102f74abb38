"""Judges a run in progress: which sites have failed, and whether the others can still bring training to its end.

Pure: from how the processes of each site have ended and the verified world, which is at least as new as those ends.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.views.nodes import sl_names

State = Literal["running", "ended", "failed"]
"""`ended`: with exit code 0."""

NO_SESSION = "took no part in the swarm: make a SwarmCallback in the script"
LEFT_OPEN = "ended without on_train_end(), which every script has to call after its last batch; the others wait for it"


class SiteEnds(NamedTuple):
    """The states of the two processes of a site."""

    name: str
    script: State
    sl: State


def quitters(world: World, sites: Sequence[SiteEnds]) -> dict[str, str]:
    """Returns the sites whose scripts have ended without an error before training was over, and what was wrong.

    The latest session counts: an earlier one may have been interrupted.
    """
    found = {}
    for site in sites:
        if site.script == "ended" and not finished(world, site.name):
            members = [state.members[uid] for uid, state in _memberships(world, site.name)]
            if not members:
                if any(state.terms for state in _trainings(world)):
                    found[site.name] = NO_SESSION
            elif not any(member.present for member in members):
                found[site.name] = LEFT_OPEN
    return found


def undecided(world: World, sites: Sequence[SiteEnds]) -> bool:
    """True while a session of a script that has ended is still open: its SL reports that in one of the next blocks."""
    out = quitters(world, sites)
    return any(
        site.script == "ended"
        and site.sl == "running"
        and site.name not in out
        and bool(_memberships(world, site.name))
        and not finished(world, site.name)
        for site in sites
    )


def obstacle(world: World, sites: Sequence[SiteEnds]) -> str:
    """The reason why training can never end, empty while it can: too few sites are left for minPeers."""
    out = quitters(world, sites)
    for state in _trainings(world):
        if state.terms is None or state.over:
            continue
        need = state.terms.min_peers
        if need > len(sites):
            return (
                f"minPeers is {need}, but there are only {len(sites)} sites: training can never begin. Start more "
                f"sites (-n {need}), or let the scripts set minPeers to at most {len(sites)} (MIN_PEERS)"
            )
        able = [site.name for site in sites if site.name not in out and _is_able(world, state, site)]
        if len(able) < need:
            return f"{len(able)} of {len(sites)} sites are left, minPeers is {need}: training cannot come to its end"
    return ""


def finished(world: World, site: str) -> bool:
    """True when this site has closed its session, or training is over for it."""
    closed = any(state.members[uid].finished for uid, state in _memberships(world, site))
    return closed or _trainings_over_for(world, site)


def _is_able(world: World, state: Training, site: SiteEnds) -> bool:
    """True when this site may still contribute to this training."""
    mine = dict(_memberships(world, site.name))
    here = [uid for uid, training in mine.items() if training.name == state.name]
    if site.sl != "running" or (mine and not here):
        return False
    return site.script != "failed" or any(state.members[uid].finished and state.members[uid].present for uid in here)


def _trainings(world: World) -> list[Training]:
    return list(world.area("training/", Training))


def _memberships(world: World, site: str) -> list[tuple[str, Training]]:
    uids = [uid for uid, name in sl_names(world).items() if name == site]
    return [(uid, state) for state in _trainings(world) for uid in uids if uid in state.members]


def _trainings_over_for(world: World, site: str) -> bool:
    return any(state.over for _, state in _memberships(world, site))
