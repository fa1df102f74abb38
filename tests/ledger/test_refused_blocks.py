"""A sealed block that most SNs object to: who decides, and what the ledger records."""

from collections.abc import Callable

import pytest

from support.network import Ledger
from swarmlearning.ledger.bodies import Lost, Objection, RefuseBlock
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.objecting import Decision, Disputed, decide, statement
from swarmlearning.ledger.contracts.network.state import Quarantine, RefusedBlock
from swarmlearning.ledger.contracts.rejection import Rejection

HASH = "ab" * 32
HOUR_MS = 3_600_000


@pytest.fixture
def four() -> Ledger:
    """A network of the SNs sn-1 to sn-4 and an SL."""
    made = Ledger()
    for number in (2, 3, 4):
        made.join(f"sn-{number}", "SN")
    made.join("sl-1")
    return made


def objection(ledger: Ledger, uid: str, *, signer: str = "", block: str = HASH, sealer: str = "sn-4") -> Objection:
    """An objection in the name of `uid` to a block of the next height."""
    disputed = Disputed(ledger.chain.network_id, ledger.chain.height + 1, block, sealer)
    return Objection(uid, ledger.actors[signer or uid].signer.sign(statement(disputed)))


def refusal(ledger: Ledger, *objections: Objection, block: str = HASH, sealer: str = "sn-4") -> RefuseBlock:
    return RefuseBlock(ledger.chain.height + 1, block, sealer, objections)


def test_the_sealer_of_a_block_that_most_sns_refuse_is_in_quarantine_and_the_refusal_is_recorded(four: Ledger) -> None:
    height = four.chain.height + 1
    body = refusal(four, *(objection(four, uid) for uid in ("sn-1", "sn-2", "sn-3")))
    four.send("sn-1", body, network.CONTRACT)
    world = four.chain.world
    assert [sn.uid for sn in network.admitted(world)] == ["sn-1", "sn-2", "sn-3"]
    assert world.get("quarantine/sn-4", Quarantine) == Quarantine(height, offence="ahead")
    assert world.get("refused/sn-4", RefusedBlock) == RefusedBlock(height, HASH, ("sn-1", "sn-2", "sn-3"))
    assert replay(four.blocks).world.state_hash() == world.state_hash()
    with pytest.raises(Rejection, match="no-change"):
        four.send("sn-2", body, network.CONTRACT)


REFUSED: dict[str, tuple[Callable[[Ledger], RefuseBlock], str]] = {
    "nobody's objection": (lambda ledger: refusal(ledger), "not-counted"),
    "two of four": (
        lambda ledger: refusal(ledger, objection(ledger, "sn-1"), objection(ledger, "sn-2")),
        "not-counted",
    ),
    "one objection three times": (lambda ledger: refusal(ledger, *[objection(ledger, "sn-1")] * 3), "not-counted"),
    "the sealer's own": (lambda ledger: with_third(ledger, objection(ledger, "sn-4")), "unknown-node: sn-4"),
    "that of an SL": (lambda ledger: with_third(ledger, objection(ledger, "sl-1")), "unknown-node: sl-1"),
    "one in another's name": (
        lambda ledger: with_third(ledger, objection(ledger, "sn-3", signer="sn-1")),
        "bad-signature: objection of SN sn-3",
    ),
    "one to another block": (
        lambda ledger: with_third(ledger, objection(ledger, "sn-3", block="cd" * 32)),
        "bad-signature: SN sn-3 has signed an objection to another block",
    ),
    "one to another sealer's block": (
        lambda ledger: with_third(ledger, objection(ledger, "sn-3", sealer="sn-2")),
        "bad-signature: SN sn-3 has signed an objection to another block",
    ),
    "a block that cannot be there yet": (
        lambda ledger: RefuseBlock(ledger.chain.height + 2, HASH, "sn-4", ()),
        "no-block",
    ),
    "a sealer that is no SN": (lambda ledger: refusal(ledger, sealer="sl-1"), "unknown-node: sl-1 is no SN"),
}


def with_third(ledger: Ledger, third: Objection) -> RefuseBlock:
    return refusal(ledger, objection(ledger, "sn-1"), objection(ledger, "sn-2"), third)


@pytest.mark.parametrize(("body", "reason"), REFUSED.values(), ids=REFUSED)
def test_without_valid_objections_of_most_sns_no_block_is_refused(
    four: Ledger, body: Callable[[Ledger], RefuseBlock], reason: str
) -> None:
    with pytest.raises(Rejection, match=reason):
        four.send("sn-1", body(four), network.CONTRACT)
    assert len(network.admitted(four.chain.world)) == 4


FAR, DOUBTFUL, NEAR = HOUR_MS, 7_000, 5_000
OPINIONS: dict[str, tuple[set[str], set[str], int, Decision, Decision | None]] = {
    # who agrees, who objects, milliseconds ahead: for an SN that objects or does not count, and for one that agrees
    "nobody has decided": (set(), set(), FAR, "wait", None),
    "one objects": (set(), {"sn-1"}, FAR, "wait", None),
    "two object": (set(), {"sn-1", "sn-2"}, FAR, "wait", None),
    "all others object": (set(), {"sn-1", "sn-2", "sn-3"}, FAR, "refuse", "refuse"),
    "two and the sealer object": (set(), {"sn-1", "sn-2", "sn-4"}, FAR, "wait", None),
    "three objected and the clocks have come nearer": (set(), {"sn-1", "sn-2", "sn-3"}, DOUBTFUL, "wait", "wait"),
    "the clock has come near": (set(), {"sn-1", "sn-2", "sn-3"}, NEAR, "accept", "accept"),
    "one agrees, so that it cannot be refused any more": ({"sn-1"}, {"sn-2", "sn-3"}, FAR, "wait", "accept"),
    "two agree and so does the sealer": ({"sn-1", "sn-2"}, {"sn-3"}, FAR, "accept", "accept"),
    "all agree": ({"sn-1", "sn-2", "sn-3"}, set(), DOUBTFUL, "accept", "accept"),
}


@pytest.mark.parametrize(("agreeing", "objecting", "ahead_ms", "objector", "agreer"), OPINIONS.values(), ids=OPINIONS)
def test_an_sn_decides_by_the_opinions_of_the_others(
    four: Ledger, agreeing: set[str], objecting: set[str], ahead_ms: int, objector: Decision, agreer: Decision | None
) -> None:
    world = four.chain.world
    assert decide(world, "sn-4", agreeing, objecting, ahead_ms, agrees=False) == objector
    if agreer is not None:
        assert decide(world, "sn-4", agreeing, objecting, ahead_ms, agrees=True) == agreer


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_no_two_sns_decide_differently_whatever_each_of_them_knows(count: int) -> None:
    ledger = Ledger()
    others = [f"sn-{number}" for number in range(2, count + 1)]
    for uid in others:
        ledger.join(uid, "SN")
    world = ledger.chain.world
    for opinions in range(2 ** len(others)):  # the sealer, sn-1, agrees to its block whatever it signs
        agreeing = {uid for bit, uid in enumerate(others) if opinions >> bit & 1}
        objecting = set(others) - agreeing
        refused = decide(world, "sn-1", agreeing, objecting | {"sn-1"}, FAR, agrees=False) == "refuse"
        for known in subsets(agreeing):
            for agrees in (True, False):
                if not agrees or known:
                    accepted = decide(world, "sn-1", known, objecting, DOUBTFUL, agrees=agrees) == "accept"
                    assert not (accepted and refused), (agreeing, known, agrees)


def subsets(of: set[str]) -> list[set[str]]:
    found = [set[str]()]
    for one in sorted(of):
        found += [each | {one} for each in found]
    return found


def test_of_two_sns_neither_refuses_the_blocks_of_the_other() -> None:
    ledger = Ledger()
    ledger.join("sn-2", "SN")
    assert decide(ledger.chain.world, "sn-2", set(), {"sn-1"}, FAR, agrees=False) == "wait"
    assert decide(ledger.chain.world, "sn-2", {"sn-1"}, set(), DOUBTFUL, agrees=True) == "accept"


def test_the_only_sn_that_counts_is_followed_whatever_its_clock_shows(four: Ledger) -> None:
    for uid in ("sn-1", "sn-2", "sn-3"):
        four.send(uid, Lost(uid, 1), network.CONTRACT)  # it has no vote
    assert decide(four.chain.world, "sn-4", set(), {"sn-1"}, FAR, agrees=False) == "accept"
