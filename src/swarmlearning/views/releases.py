"""What sites with a privacy lock have given, by the statements that they have signed: collected from a verified chain.

A proof names one of these statements by its place on the chain. Whoever has the chain verifies it, and needs to trust
nobody for that: the signature is the site's, and no SN can alter a block without its hash.
"""

import msgspec

from swarmlearning.ledger.bodies import Privacy, SubmissionKind, Submit
from swarmlearning.ledger.chain import Step
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ledger.fields import Count, Digest
from swarmlearning.views.names import name_of, node_names
from swarmlearning.views.resets import ended_runs


class Release(msgspec.Struct, frozen=True):
    """A statement of one site (`uid`; `subject` of `organisation` has signed it) with what it has given to a round.

    `digest`: of the model that it gave; empty where its lock gave none. `transaction`: as it was signed (JWS), in the
    block of this `height` and `time_ms`.
    """

    contract: str
    run: int
    round: int
    site: str
    uid: str
    subject: str
    organisation: str
    kind: SubmissionKind
    digest: str
    privacy: Privacy
    height: int
    time_ms: int
    transaction: str


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a statement stands: the network (hash of its first block), the height, and the transaction (JWS)."""

    network: Digest
    height: Count
    transaction: str


def releases(step: Step) -> list[Release]:
    """The statements in one block, in its order; none of a void block."""
    found = []
    signed_here = step.block.transactions if step.void is None else ()
    ended = ended_runs(step)
    for index, signed in enumerate(signed_here):
        content = signed.content
        if not isinstance(content.body, Submit) or content.body.privacy is None:
            continue
        world, contract = step.chain.world, content.contract
        resets = sum(each.place > index and each.state.name == contract for each in ended)
        sender = network.node(world, content.sender)
        assert sender is not None
        found.append(
            Release(
                contract=contract,
                run=state_of(world, contract).run - resets,
                round=content.body.round,
                site=name_of(node_names(world), content.sender),
                uid=content.sender,
                subject=sender.subject,
                organisation=sender.organisation,
                kind=content.body.submission,
                digest="" if content.body.privacy.withheld else content.body.digest,
                privacy=content.body.privacy,
                height=step.chain.height,
                time_ms=step.block.header.time_ms,
                transaction=signed.raw,
            )
        )
    return found


def noises(found: list[Release], last: Release) -> list[float]:
    """The noise multipliers of what this site gave up to and with `last`, as far as this chain shows it.

    The site counts its releases over all networks and all its SLs; here are those that it had not counted before.
    """
    own = [each for each in found if (each.uid, each.organisation) == (last.uid, last.organisation)]
    counted, multipliers = 0, []
    for each in own[: own.index(last) + 1]:
        if each.privacy.releases > counted and each.privacy.noise and not each.privacy.withheld:
            multipliers.append(each.privacy.noise)
        counted = max(counted, each.privacy.releases)
    return multipliers
