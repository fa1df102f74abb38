"""What the operators of adversarial organisations do: acts, answers to proposals, and notes about runs."""

from typing import TYPE_CHECKING

from simulation.invited import invitation
from simulation.ledger import CONTRACT
from swarmlearning.ledger.bodies import (
    AdmitOrganisation,
    Anchor,
    AnnotateRun,
    Body,
    CreateContract,
    HideRun,
    NewOrganisation,
    Recover,
    Reject,
    Reset,
    RetireAuthority,
    RetireOrganisation,
    Revoke,
    SetPolicy,
    Sign,
    Stop,
    SwitchRules,
    TagRun,
)
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network

if TYPE_CHECKING:
    from simulation.moves import Scene


def act(scene: "Scene") -> tuple[str, Body]:
    """What an operator may send: what its organisation must not do alone becomes a proposal."""
    world, dice = scene.swarm.log.head.world, scene.dice
    honest = dice.choice([site.organisation for site in scene.swarm.sites.values()])
    roots = [root for root in network.authorities(world) if root.organisation == honest]
    nodes = [node for node in network.nodes(world) if node.organisation == honest]
    new = NewOrganisation("org-x", "X", (Anchor(roots[0].pem if roots else ""),))
    certificate = dice.choice(nodes).certificate if nodes else "0" * 64
    return dice.choice(
        (
            (CONTRACT, Stop()),
            (CONTRACT, Reset(forced=True)),
            (CONTRACT, CreateContract()),
            (network.CONTRACT, Revoke(certificate)),
            (network.CONTRACT, RetireOrganisation(honest)),
            (network.CONTRACT, RetireAuthority(roots[0].thumbprint if roots else "0" * 64)),
            (network.CONTRACT, AdmitOrganisation(new)),
            invitation(scene),
            (network.CONTRACT, SetPolicy("reset-contract", "one")),
            (network.CONTRACT, SetPolicy("revoke", "one")),
            (network.CONTRACT, SwitchRules(RULES_VERSION + 1)),
            (network.CONTRACT, Recover(())),
        )
    )


def answer(scene: "Scene") -> tuple[str, Body]:
    number = scene.dice.randint(1, len(network.proposals(scene.swarm.log.head.world)) + 1)
    return network.CONTRACT, scene.dice.choice((Sign(number), Reject(number)))


def annotate(scene: "Scene") -> tuple[str, Body]:
    """Notes something about a run: mostly the present one, of any length that is possible."""
    dice, present = scene.dice, scene.training.run
    run = present if dice.random() < 0.7 else dice.choice((1, present + 1, 2**31 - 1))
    tag = dice.choice(("good", "bad"))
    bodies: tuple[Body, ...] = (
        AnnotateRun(run, dice.choice(("", "x", "x" * 2000))),
        TagRun(run, (tag,), dice.choice(((), (tag,), ("bad",)))),
        HideRun(run, dice.random() < 0.7),
    )
    return CONTRACT, dice.choice(bodies)
