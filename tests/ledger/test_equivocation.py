"""Two sealed blocks of one height: the proof is checked by every node, kept, and puts the sealer in quarantine."""

from collections.abc import Callable

import msgspec
import pytest

from support.network import Ledger
from swarmlearning.ledger.block import read_header, signed_header
from swarmlearning.ledger.bodies import Equivocation
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.state import Quarantine, TwoSeals
from swarmlearning.ledger.contracts.rejection import Rejection


@pytest.fixture
def ledger() -> Ledger:
    """A network of three SNs and an SL."""
    made = Ledger()
    for number in (2, 3):
        made.join(f"sn-{number}", "SN")
    made.join("sl-1")
    return made


def header(ledger: Ledger, uid: str = "sn-2", *, signer: str = "", later_ms: int = 0, **changes: object) -> str:
    """The signed header of a next block by `uid`."""
    found = read_header(ledger.seal(sealer=uid))
    changed = msgspec.structs.replace(found, time_ms=found.time_ms + later_ms, **changes)
    return ledger.actors[signer or uid].signer.sign(canonical(changed))


def proof(ledger: Ledger) -> Equivocation:
    return Equivocation(header(ledger), header(ledger, later_ms=1))


@pytest.mark.parametrize("sender", ["sn-1", "sl-1"])
def test_whoever_proves_that_an_sn_has_sealed_two_blocks_of_one_height_puts_it_in_quarantine(
    ledger: Ledger, sender: str
) -> None:
    body, height = proof(ledger), ledger.chain.height + 1
    ledger.send(sender, body, network.CONTRACT)
    world = ledger.chain.world
    assert [sn.uid for sn in network.admitted(world)] == ["sn-1", "sn-3"]
    assert world.get("quarantine/sn-2", Quarantine) == Quarantine(height, offence="twice")
    assert world.get("equivocation/sn-2", TwoSeals) == TwoSeals(height, body.first, body.second, sender)
    assert replay(ledger.blocks).world.state_hash() == world.state_hash()
    with pytest.raises(Rejection, match="no-change"):
        ledger.send("sn-3", Equivocation(body.second, body.first), network.CONTRACT)


def test_the_headers_of_two_chains_are_a_proof_too(ledger: Ledger) -> None:
    body = Equivocation(header(ledger), header(ledger, previous="0" * 64))
    ledger.send("sn-1", body, network.CONTRACT)
    assert not network.admits(ledger.chain.world, "sn-2")


NO_PROOF: dict[str, tuple[Callable[[Ledger], Equivocation], str]] = {
    "one header twice": (lambda ledger: Equivocation(*[header(ledger)] * 2), "malformed"),
    "one header that was signed twice": (lambda ledger: Equivocation(header(ledger), header(ledger)), "malformed"),
    "two heights": (
        lambda ledger: Equivocation(header(ledger), header(ledger, height=ledger.chain.height)),
        "malformed: these are not two blocks",
    ),
    "two sealers": (lambda ledger: Equivocation(header(ledger), header(ledger, "sn-3")), "malformed"),
    "another network": (
        lambda ledger: Equivocation(header(ledger, network="0" * 64), header(ledger, network="0" * 64, later_ms=1)),
        "malformed",
    ),
    "a height that is not reached": (
        lambda ledger: Equivocation(header(ledger, height=99), header(ledger, height=99, later_ms=1)),
        "no-block",
    ),
    "the genesis": (
        lambda ledger: Equivocation(header(ledger, height=0), header(ledger, height=0, later_ms=1)),
        "no-block",
    ),
    "a header that another SN has signed": (
        lambda ledger: Equivocation(header(ledger), header(ledger, signer="sn-3", later_ms=1)),
        "unknown-node: a header of sn-2 is not signed by that SN",
    ),
    "a node that is no SN": (
        lambda ledger: Equivocation(
            header(ledger, signer="sl-1", sealer="sl-1"), header(ledger, signer="sl-1", sealer="sl-1", later_ms=1)
        ),
        "unknown-node: a header of sl-1",
    ),
    "an altered header": (
        lambda ledger: Equivocation(header(ledger), header(ledger, later_ms=1)[:-4] + "AAAA"),
        "bad-signature",
    ),
    "no header at all": (lambda ledger: Equivocation("", "x.y.z"), "bad-signature"),
    "what an SN has signed as something else": (
        lambda ledger: Equivocation(
            ledger.actors["sn-2"].signer.sign(b'{"height":1}'), ledger.actors["sn-2"].signer.sign(b"[]")
        ),
        "bad-signature: a header does not hold",
    ),
}


@pytest.mark.parametrize(("body", "reason"), NO_PROOF.values(), ids=NO_PROOF)
def test_what_does_not_prove_two_seals_of_one_sn_changes_nothing(
    ledger: Ledger, body: Callable[[Ledger], Equivocation], reason: str
) -> None:
    with pytest.raises(Rejection, match=reason):
        ledger.send("sl-1", body(ledger), network.CONTRACT)
    assert len(network.admitted(ledger.chain.world)) == 3


def test_a_block_has_the_header_that_its_sealer_has_signed(ledger: Ledger) -> None:
    raw = ledger.seal()
    found, signed = signed_header(raw)
    assert found == read_header(raw)
    assert signed.encode() in raw
