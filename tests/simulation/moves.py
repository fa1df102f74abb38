"""The moves of an adversarial node, by kind: each composes a transaction from what the ledger shows, or none now."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from simulation.government import act, annotate, answer
from simulation.invited import request_admission
from simulation.ledger import CONTRACT
from simulation.models import name
from swarmlearning.ledger.bodies import (
    Announce,
    Back,
    Body,
    CloseSession,
    Contribution,
    Depose,
    Exclusion,
    ExclusionReason,
    Freeze,
    Leave,
    Lost,
    Missing,
    OpenSession,
    Progress,
    Publish,
    Receipt,
    ReportPerformance,
    Settle,
    SubmissionKind,
    Submit,
    Void,
)
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.sizes import next_report
from swarmlearning.ledger.contracts.training.state import Member, Round, Training, weight_in

if TYPE_CHECKING:
    from simulation.swarm import Swarm

Move: TypeAlias = tuple[str, Body]
"""The contract and the body."""
Cause: TypeAlias = Literal["lease", "progress", "overdue"]
STRANGER: Final = "stranger"
"""The UID of a node that nobody has registered."""
ODD: Final[tuple[Mapping[str, Any], ...]] = (
    {"structure": "6" * 64},
    {"min_peers": 1},
    {"min_peers": 50},
    {"merge_method": "geomedian"},
    {"initial": "one"},
    {"initial": "merged"},
    {"classes": "7" * 64},
    {"features": "7" * 64},
    {"frozen": "7" * 64},
)
"""Terms that are not those of the honest sites, mostly."""


@dataclass(frozen=True)
class Scene:
    """What a node chooses its move from; `models` are those that it can serve."""

    swarm: "Swarm"
    uid: str
    incarnation: int
    models: set[str]
    dice: random.Random

    @property
    def training(self) -> Training:
        return self.swarm.training

    @property
    def round(self) -> Round | None:
        return self.training.round

    @property
    def me(self) -> Member | None:
        return self.training.members.get(self.uid)

    @property
    def number(self) -> int:
        """A round: mostly that of the standing result."""
        result, dice = self.training.result, self.dice
        return result.closed.number if result and dice.random() < 0.95 else dice.randrange(5)

    def some(self) -> tuple[str, ...]:
        """Some of the members."""
        return tuple(uid for uid in sorted(self.training.members) if self.dice.random() < 0.5)

    def led(self) -> Round | None:
        """The round, if this node leads it."""
        return self.round if self.round and self.round.leader == self.uid else None


# --- join -----------------------------------------------------------------------------------------------------------


def session(scene: Scene, **odd: Any) -> Move:
    """Opens a session on the terms of the honest sites, but for those that are `odd`."""
    swarm, dice = scene.swarm, scene.dice
    site = next(iter(swarm.sites.values()))
    terms: dict[str, Any] = {
        "merge_method": swarm.method,
        "min_peers": swarm.min_peers,
        "structure": "5" * 64,
        "initial": site.plan.settings.initial,
        "outer": swarm.outer,
    }
    return CONTRACT, OpenSession(
        **(terms | odd),
        weightage=dice.choice((1, 100)),
        sync_frequency=dice.choice((1, 8, 2**31 - 1)),
        checkin=dice.choice(("snapshot", "active", "inactive")),
        epochs=dice.choice((0, 1, 2**53 - 1)),
        adaptive=dice.random() < 0.5,
        may_lead=dice.random() < 0.9,
    )


def odd_session(scene: Scene) -> Move:
    return session(scene, **scene.dice.choice(ODD))


def close(scene: Scene) -> Move:
    return CONTRACT, CloseSession(scene.dice.choice(("snapshot", "active", "inactive")))


def leave(scene: Scene) -> Move:
    return network.CONTRACT, Leave()


def lose_itself(scene: Scene) -> Move:
    return network.CONTRACT, Lost(scene.uid, scene.incarnation)


def be_back(scene: Scene) -> Move:
    return network.CONTRACT, Back(scene.uid, scene.incarnation)


def lose_another(scene: Scene) -> Move:
    uid = scene.dice.choice(list(scene.swarm.sites))
    node = network.node(scene.swarm.log.head.world, uid)
    return network.CONTRACT, Lost(uid, node.incarnation if node else 1)


# --- vote -----------------------------------------------------------------------------------------------------------


def depose(scene: Scene) -> Move | None:
    current, world = scene.round, scene.swarm.log.head.world
    leader = network.node(world, current.leader) if current else None
    if current is None or leader is None:
        return None
    seen = network.last_height(world, leader.uid)
    causes: tuple[Cause, ...] = ("progress", "progress", "overdue", "lease")
    return CONTRACT, Depose(current.number, current.term, leader.incarnation, seen, scene.dice.choice(causes))


def depose_honest(scene: Scene) -> Move | None:
    """Reports that an honest leader makes no progress, as soon as it leads."""
    current, world = scene.round, scene.swarm.log.head.world
    if current is None or current.leader not in scene.swarm.sites or scene.uid in current.no_progress:
        return None
    leader = network.node(world, current.leader)
    assert leader is not None
    seen = network.last_height(world, leader.uid)
    return CONTRACT, Depose(current.number, current.term, leader.incarnation, seen, "progress")


# --- what only an SN may report -------------------------------------------------------------------------------------


def bring_back(scene: Scene) -> Move:
    uid = scene.dice.choice(list(scene.swarm.sites))
    node = network.node(scene.swarm.log.head.world, uid)
    return network.CONTRACT, Back(uid, node.incarnation if node else 1)


def lose_an_sn(scene: Scene) -> Move:
    return network.CONTRACT, Lost(scene.dice.choice(scene.swarm.sns).name, 1)


def bring_an_sn_back(scene: Scene) -> Move:
    return network.CONTRACT, Back(scene.dice.choice(scene.swarm.sns).name, 1)


def void_anything(scene: Scene) -> Move:
    return CONTRACT, Void(scene.round.number if scene.round and scene.dice.random() < 0.5 else scene.number)


# --- more votes -----------------------------------------------------------------------------------------------------


def miss(scene: Scene) -> Move:
    lasting, slow = scene.dice.choice(((False, False), (True, False), (False, True)))
    return CONTRACT, Missing(scene.number, lasting=lasting, slow=slow)


def void(scene: Scene) -> Move:
    return CONTRACT, Void(scene.number)


def settle(scene: Scene) -> Move:
    return CONTRACT, Settle(scene.number)


def freeze(scene: Scene) -> Move | None:
    led = scene.led()
    return (
        (CONTRACT, Freeze(led.number, led.term, (*scene.some(), STRANGER), (*scene.some(), STRANGER))) if led else None
    )


def publish_nothing(scene: Scene) -> Move | None:
    """Publishes that too few models were usable, and blames some or all of the others."""
    led, dice = scene.led(), scene.dice
    if led is None or led.phase != "frozen":
        return None
    parts, left_out = [], []
    blamed = set(scene.some()) if dice.random() < 0.5 else led.submissions.keys() - {scene.uid}
    reasons: tuple[ExclusionReason, ...] = dice.choice((("unreachable",), ("too-slow",), ("non-finite", "structure")))
    for uid, entry in led.submissions.items():
        if uid in blamed:
            left_out.append(Exclusion(uid, dice.choice(reasons), ""))
        else:
            parts.append(Contribution(uid, entry.digest, entry.weight, entry.weight))
    return CONTRACT, Publish(led.number, led.term, "", 0, Receipt(scene.swarm.method, tuple(parts), tuple(left_out)))


# --- state ----------------------------------------------------------------------------------------------------------


def announce(scene: Scene) -> Move:
    return network.CONTRACT, Announce({"fs": f"10.0.0.1:{scene.dice.randrange(1, 65536)}"})


def progress(scene: Scene) -> Move | None:
    led = scene.led()
    return (CONTRACT, Progress(led.number, led.term, next_report(scene.training, led))) if led else None


def report_performance(scene: Scene) -> Move:
    """Reports that it holds the result, which it may not, and any loss."""
    loss = scene.dice.choice((None, 0.0, -1e300, 1e300, scene.dice.random()))
    return CONTRACT, ReportPerformance(scene.number, loss, loss, 1, 1, loaded=scene.dice.random() < 0.5)


def submit(scene: Scene) -> Move | None:
    """Submits a model of its own, which others get or not, or the digest of another's."""
    current, me, dice = scene.round, scene.me, scene.dice
    if current is None or me is None:
        return None
    digest = name("made up", scene.uid, str(dice.random()))
    if dice.random() < 0.3:
        digest = dice.choice([digest, *(one.digest for one in current.submissions.values()), current.base or digest])
    else:
        scene.models.add(digest)
    trained: tuple[SubmissionKind, ...] = ("trained", "carried")
    kind = me.checkin if me.finished else dice.choice(trained)
    size = dice.choice((0, 1, 1, 1, 2**53 - 1))
    return CONTRACT, Submit(current.number, current.base, kind, digest, size, weight_in(current, me, kind))


# --- spam --------------------------------------------------------------------------------------------


def in_its_name(scene: Scene) -> Move:
    """What a site may send of itself."""
    own: tuple[Move, ...] = ((network.CONTRACT, Leave()), close(scene), report_performance(scene))
    return scene.dice.choice(own)


def any_round(scene: Scene) -> Move:
    number, dice = scene.dice.choice((0, 7, 2**53 - 1)), scene.dice
    bodies = (Freeze(number, number), Progress(number, number, number), Missing(number), Settle(number))
    return CONTRACT, dice.choice(bodies)


def name_stranger(scene: Scene) -> Move | None:
    """Names a node that nobody has registered."""
    led, dice = scene.led(), scene.dice
    number, term = (led.number, led.term) if led else (0, 0)
    nothing = Receipt(scene.swarm.method, (), (Exclusion(STRANGER, "non-finite", ""),))
    stated: tuple[Move, ...] = (
        (network.CONTRACT, Lost(STRANGER, 1)),
        (network.CONTRACT, Back(STRANGER, 1)),
        (CONTRACT, Publish(number, term, "", 0, nothing)),
    )
    return dice.choice(stated)


def session_elsewhere(scene: Scene) -> Move:
    return f"contract-{scene.dice.randrange(9)}", session(scene)[1]


MOVES: Final[Mapping[str, Mapping[str, Callable[[Scene], Move | None]]]] = {
    "join": {
        "opens a session": session,
        "opens an odd session": odd_session,
        "closes its session": close,
        "leaves": leave,
        "reports itself lost": lose_itself,
        "reports itself back": be_back,
        "reports another lost": lose_another,
        "registers anew": session,
    },
    "vote": {
        "deposes": depose,
        "misses": miss,
        "voids": void,
        "settles": settle,
        "freezes": freeze,
        "publishes nothing": publish_nothing,
        "closes its session": close,
    },
    "state": {
        "announces": announce,
        "reports progress": progress,
        "reports performance": report_performance,
        "submits": submit,
        "goes quiet": session,
        "freezes": freeze,
    },
    "spam": {"names any round": any_round, "opens a session elsewhere": session_elsewhere, "submits": submit},
    "forge": {
        "sends as another": in_its_name,
        "registers another's UID": session,
        "sends what is old": submit,
        "names a stranger": name_stranger,
        "submits": submit,
    },
    "depose": {"deposes each honest leader": depose_honest},
    "mute": {"goes quiet": session},
    "watch": {
        "SN: reports a site lost": lose_another,
        "SN: reports a site back": bring_back,
        "SN: reports an SN lost": lose_an_sn,
        "SN: reports an SN back": bring_an_sn_back,
        "SN: deposes": depose,
        "SN: voids": void_anything,
        "SN: passes a request on": request_admission,
        "SN: settles": settle,
    },
    "govern": {"acts for its organisation": act, "answers a proposal": answer, "annotates a run": annotate},
}
"""By kind. `registers anew` and `goes quiet` are the node's own, whatever stands beside them; `sends as another` and
`registers another's UID` name an honest site as their sender, and `sends what is old` follows a block of any height,
also of a former run."""
REFUSED: Final = ("sends as another", "registers another's UID", "names a stranger")
"""Moves that the ledger always has to refuse."""
LED: Final = ("freezes", "publishes nothing", "reports progress", "goes quiet")
"""What a node of any kind does as leader, too."""
KINDS: Final = ("join", "vote", "state", "spam", "forge", "depose", "mute")
MOVE: Final = {move: compose for moves in MOVES.values() for move, compose in moves.items()}
