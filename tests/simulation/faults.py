"""The faults: each function makes one strike, last for a while and heal. It returns whether it has struck."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from simulation.ledger import CONTRACT, Author
from simulation.site import Site
from simulation.unsigned import papers
from swarmlearning.ledger.bodies import Body, Register, Reset, Revoke
from swarmlearning.ledger.contracts import network

if TYPE_CHECKING:
    from simulation.swarm import Swarm

JAM_SECONDS = 800.0
"""Seconds for which a jammed site does nothing though alive: longer than a round, which the others must close."""

DRAG = 10
"""Factor by which everything takes longer with a slow disk."""

OF_A_LEADER = " of a leader"
"""Suffix with which faults that struck a leader are counted."""

Fault: TypeAlias = Callable[["Swarm", Site | None, float], bool]
"""The site that it strikes, if it strikes one, and the seconds that it lasts."""


# --- sites ----------------------------------------------------------------------------------------------------------


def crash(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Kills the SL and starts it again."""
    assert site is not None
    if not site.alive or site.finished:
        return False
    site.crash()
    _start_again(swarm, site, lasts)
    return True


def die(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Kills the site for good."""
    assert site is not None
    if not site.alive or site.finished:
        return False
    site.dead = True
    site.crash()
    return True


def leave(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Stops the SL in good order, as an operator does, and starts it again."""
    assert site is not None
    if not site.may_leave:
        return False
    site.leave()
    _start_again(swarm, site, lasts)
    return True


def retire(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Stops the SL in good order for good, as an operator does."""
    assert site is not None
    if not site.may_leave:
        return False
    site.dead = True
    site.leave()
    return True


def _start_again(swarm: "Swarm", site: Site, seconds: float) -> None:
    """Restarts the SL after this time, or when it has ended."""
    life = site.life

    def start() -> None:
        if site.dead or site.life != life:
            return
        if site.alive:
            swarm.until_healed(1.0)
            swarm.clock.after(1.0, start)
        else:
            site.start()

    swarm.clock.after(seconds, start)


def freeze(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    assert site is not None
    if not site.alive or site.frozen:
        return False
    site.freeze()
    life = site.life
    swarm.clock.after(lasts, lambda: site.thaw() if site.life == life else None)
    return True


def lose_ml(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Kills the ML process and starts it again."""
    assert site is not None
    if not site.alive or site.finished or site.script.process is None:
        return False
    site.script.lose()
    swarm.clock.after(lasts, lambda: None if site.finished else site.script.start())
    return True


def hang_ml(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    assert site is not None
    if site.script.process is None:
        return False
    swarm.note(site.uid, "its ML process hangs")
    site.script.hang(True)
    swarm.clock.after(lasts, lambda: site.script.hang(False))
    return True


def poison(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Makes the ML process train non-finite models until somebody notices and restarts it."""
    assert site is not None
    swarm.note(site.uid, "trains a model that is not finite")
    site.script.poisoned = True

    def cure() -> None:
        site.script.poisoned = False
        if site.alive and not site.finished:
            site.script.lose()
            site.at(1.0, site.script.start)

    swarm.until_healed(lasts + 1.0)
    swarm.clock.after(lasts, cure)
    return True


# --- disks ----------------------------------------------------------------------------------------------------------


def stick(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Stalls the disk and the transfers of a site that stays alive."""
    assert site is not None
    swarm.note(site.uid, "is stuck")
    site.store.stuck = True
    swarm.clock.after(lasts, site.store.unstick)
    return True


def drag(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Makes the site's disk and transfers slow for a while."""
    assert site is not None
    if site.store.slowness > 1:
        return False
    swarm.note(site.uid, "is slow")
    site.store.slowness = DRAG
    swarm.clock.after(lasts, lambda: setattr(site.store, "slowness", 1))
    return True


def fill(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Fills the site's disk."""
    assert site is not None
    swarm.note(site.uid, "has a full disk")
    site.store.full = True
    swarm.clock.after(lasts, lambda: setattr(site.store, "full", False))
    return True


def lose_file(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Removes or corrupts a merged model of the site that another site has too, or that can be merged again."""
    assert site is not None
    merged = sorted(digest for digest in site.store.held if digest not in swarm.witness.handed)
    spare = [digest for digest in merged if _can_be_missed(swarm, site, digest)]
    if not spare:
        return False
    digest = swarm.dice.choice(spare)
    swarm.note(site.uid, f"model {digest[:6]} is lost or damaged")
    swarm.witness.damaged.add((site.uid, digest))
    if swarm.dice.random() < 0.5:
        site.store.held.discard(digest)
    else:
        site.store.corrupt.add(digest)
    return True


def _can_be_missed(swarm: "Swarm", site: Site, digest: str) -> bool:
    """Returns whether a model may be lost: another site has it, or it is the standing result and its base exists."""
    holders = {uid for uid, other in swarm.sites.items() if digest in other.store.whole}
    if holders - {site.uid}:
        return True
    result = swarm.training.result
    if result is None or result.digest != digest or result.closed.base == digest:
        return False
    return not result.closed.base or any(result.closed.base in other.store.whole for other in swarm.sites.values())


# --- the network and SNs --------------------------------------------------------------------------------------------


def cut(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Cuts the site off from everybody, from the SNs only, or from the other SLs only."""
    assert site is not None
    sns, sls = {sn.name for sn in swarm.sns}, set(swarm.sites)
    others = swarm.dice.choice((sns | sls, sns, sls)) - {site.uid}
    swarm.cut({site.uid}, others, lasts)
    return True


def vanish(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Cuts the site off from everybody for good, while it stays alive."""
    assert site is not None
    if not site.alive or site.finished:
        return False
    site.dead = True
    swarm.cut({site.uid}, {sn.name for sn in swarm.sns} | set(swarm.sites) - {site.uid}, math.inf)
    return True


def shield(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Keeps others from fetching the site's models, though it can fetch theirs (a firewall)."""
    assert site is not None
    swarm.note(site.uid, "is shielded")
    site.shielded = True
    swarm.clock.after(lasts, lambda: setattr(site, "shielded", site.walled))
    return True


def wall_off(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Keeps others from fetching the site's models for good (a wrong address, a closed port); it can fetch theirs."""
    assert site is not None
    if site.walled or not site.alive or site.finished:
        return False
    swarm.note(site.uid, "is walled off")
    site.shielded = site.walled = True
    return True


def break_transfers(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Breaks connections to the site in the middle of transfers."""
    assert site is not None
    swarm.note(site.uid, "has a link that breaks")
    site.breaking = True
    swarm.clock.after(lasts, lambda: setattr(site, "breaking", False))
    return True


def drip(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Makes the site's contributions arrive drop by drop from now on, if the others can do without them."""
    return _slow_down(swarm, site, "dripping", "drips")


def trickle(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Makes the site serve results drop by drop from now on, if the others can do without it."""
    return _slow_down(swarm, site, "trickling", "serves results in drips")


def _slow_down(swarm: "Swarm", site: Site | None, mark: str, note: str) -> bool:
    assert site is not None
    if site.finished or not swarm.can_spare(site):
        return False
    swarm.note(site.uid, note)
    setattr(site, mark, True)
    return True


def split(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Splits the network into two parts."""
    names = [sn.name for sn in swarm.sns] + list(swarm.sites)
    part = set(swarm.dice.sample(names, len(names) // 2))
    swarm.cut(part, set(names) - part, lasts)
    return True


def crash_sn(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    sn = swarm.dice.choice(swarm.sns)
    if not sn.alive or not swarm.can_spare_sn(sn):
        return False
    swarm.crash_sn(sn)
    swarm.clock.after(lasts, lambda: swarm.restart_sn(sn))
    return True


def freeze_sn(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    sn = swarm.dice.choice(swarm.sns)
    if not sn.works or not swarm.can_spare_sn(sn):
        return False
    swarm.freeze_sn(sn)
    swarm.clock.after(lasts, lambda: swarm.thaw_sn(sn))
    return True


def isolate_sn(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Cuts an SN off from the other SNs."""
    sn = swarm.dice.choice(swarm.sns)
    if len(swarm.sns) == 1 or sn.isolated or not swarm.can_spare_sn(sn):
        return False
    swarm.note(sn.name, "is isolated")
    sn.isolated = True
    swarm.clock.after(lasts, lambda: swarm.join_sn(sn))
    return True


# --- operators ------------------------------------------------------------------------------------------------------


def reset(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Resets the training while it is under way; sites that notice it start again."""
    training = swarm.log.training(-1)
    if training.over or not training.members:
        return False
    operate(swarm, swarm.operator, CONTRACT, Reset(forced=True))
    return True


def operate(swarm: "Swarm", paper: str, contract: str, body: Body) -> None:
    """Sends what the operator with this certificate does, who registers anew each time as the command does."""
    uid = f"op-{paper.lower()}"
    known = network.node(swarm.log.head.world, uid)
    author = Author(swarm.log, paper, uid, known.incarnation + 1 if known else 1)
    for name, each in ((network.CONTRACT, Register("SWCI", uid, papers().pems[paper], "0")), (contract, body)):
        swarm.append(author.write(swarm.log.head, name, each), swarm.sns[0])


def revoke(swarm: "Swarm", site: Site | None, lasts: float) -> bool:
    """Revokes the certificate that only this site has, if the others can do without it."""
    assert site is not None
    node = network.node(swarm.log.head.world, site.uid)
    if node is None or site.finished or not swarm.can_spare(site):
        return False
    operate(swarm, "SWCI", network.CONTRACT, Revoke(node.certificate))
    swarm.note(site.uid, "is shut out")
    site.revoked = site.dead = True
    return True


# --- all of them ----------------------------------------------------------------------------------------------------

JAMS: tuple[Fault, ...] = (stick, stick, fill, hang_ml)
"""Faults that stall a leader for long while it stays alive; everybody else has to go on."""
OF_SNS: tuple[Fault, ...] = (crash_sn, freeze_sn, isolate_sn)
OF_NO_SITE: tuple[Fault, ...] = (*OF_SNS, reset)
FELT_BY_ALL: tuple[Fault, ...] = (cut, split, shield, wall_off, break_transfers, trickle, *OF_NO_SITE)
"""Faults after which every site counts as harmed."""
FOR_GOOD: tuple[Fault, ...] = (die, vanish, retire, wall_off)
BRIEF: tuple[Fault, ...] = (crash, crash, leave, lose_ml, cut, cut, shield, shield, lose_file, poison, reset)
"""Faults with which no leader stalls while it stays alive."""
FAULTS: tuple[Fault, ...] = (
    crash, crash, crash, leave, freeze, freeze, lose_ml, lose_ml, hang_ml, cut, cut, split, stick, stick, drag, fill,
    shield, lose_file, poison, break_transfers,
    *FOR_GOOD,
    *OF_NO_SITE,
)  # fmt: skip


def strike(swarm: "Swarm", fault: Fault, site: Site | None, lasts: float) -> None:
    """Applies a fault, and counts it if it strikes."""
    leads = site is not None and site.leads
    if fault(swarm, site, lasts):
        kind = fault.__name__.replace("_", " ")
        swarm.struck[kind] += 1
        swarm.struck[f"{kind}{OF_A_LEADER}"] += leads
        swarm.harmed |= {site.uid} if site and fault not in FELT_BY_ALL else set(swarm.sites)
