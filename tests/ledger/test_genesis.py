"""Block 0: whatever is not the genesis of a network founds none."""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from support.crafted_certs import craft
from support.network import Ledger, organisation, read
from swarmlearning.ledger import block
from swarmlearning.ledger.block import Header, transaction_root
from swarmlearning.ledger.bodies import Genesis
from swarmlearning.ledger.chain import RULES_VERSION, Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError, sign

Forge = Callable[[Ledger], bytes]


@pytest.fixture
def ledger() -> Ledger:
    """A network with its SN and one SL, `sl-1`."""
    made = Ledger()
    made.join("sl-1")
    return made


def genesis(ledger: Ledger, **changes: object) -> Genesis:
    body = read(ledger.blocks[0]).transactions[0].content.body
    assert isinstance(body, Genesis)
    return msgspec.structs.replace(body, **changes)


def founded(ledger: Ledger, body: Genesis, **changes: object) -> bytes:
    """A block 0 with this genesis, all else as it should be."""
    content = msgspec.structs.replace(read(ledger.blocks[0]).transactions[0].content, body=body)
    signed = sign(content, ledger.actors["sn-1"].signer)
    header = msgspec.structs.replace(
        read(ledger.blocks[0]).header,
        transaction_root=transaction_root([signed.id]),
        **changes,
    )
    return block.seal(header, [signed], ledger.actors["sn-1"].signer).raw


def test_each_genesis_founds_a_different_network(ledger: Ledger) -> None:
    raw = ledger.blocks[0]
    assert Chain().append(raw).chain.network_id == read(raw).hash
    assert Chain().append(Ledger().blocks[0]).chain.network_id != read(raw).hash


def founded_by(ledger: Ledger, uid: str, **changes: object) -> bytes:
    """A block 0 whose transaction this node has signed."""
    actor = ledger.actors[uid]
    content = read(ledger.blocks[0]).transactions[0].content
    signed = sign(
        msgspec.structs.replace(content, body=genesis(ledger, certificate=actor.pem), **changes), actor.signer
    )
    header = msgspec.structs.replace(read(ledger.blocks[0]).header, transaction_root=transaction_root([signed.id]))
    return block.seal(header, [signed], actor.signer).raw


def of_an_expired_authority(ledger: Ledger) -> bytes:
    old = craft("CN=old", begin=datetime(2020, 1, 1, tzinfo=UTC), end=datetime(2021, 1, 1, tzinfo=UTC))
    found = (organisation("org-1", ledger.authority), organisation("org-2", old))
    return founded(ledger, genesis(ledger, organisations=found))


def two_of_one_authority(ledger: Ledger) -> bytes:
    found = (organisation("org-1", ledger.authority), organisation("org-2", ledger.authority))
    return founded(ledger, genesis(ledger, organisations=found))


def empty(ledger: Ledger) -> bytes:
    return block.seal(Header("", 0, "", 1, "sn-1", transaction_root([]), "", 1), [], ledger.actors["sn-1"].signer).raw


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (lambda ledger: b"x", "not a block"),
        (lambda ledger: founded(ledger, genesis(ledger), state_hash="0" * 64), "state-hash"),
        (lambda ledger: founded(ledger, genesis(ledger, network_name="other")), "state-hash"),
        (lambda ledger: founded(ledger, genesis(ledger), network="0" * 64), "other-network"),
        (lambda ledger: founded(ledger, genesis(ledger), time_ms=0), "time"),
        (lambda ledger: founded(ledger, genesis(ledger), time_ms=1), "untrusted: .*not yet valid"),
        (lambda ledger: founded(ledger, genesis(ledger), sealer="sl-1"), "sl-1 is no SN"),
        (lambda ledger: founded(ledger, genesis(ledger, rules_version=RULES_VERSION + 1)), "name different rules"),
        (lambda ledger: founded(ledger, genesis(ledger, organisations=())), "untrusted|no-authority"),
        (lambda ledger: founded(ledger, genesis(ledger, certificate=ledger.actors["sl-1"].pem)), "bad-certificate"),
        (two_of_one_authority, "other-organisation: .* is one of organisation org-1; each organisation needs its own"),
        (of_an_expired_authority, "bad-certificate: .* CN=old has expired"),
        (lambda ledger: founded_by(ledger, "sn-1", incarnation=1_000_001), "far-incarnation"),
        (lambda ledger: founded_by(ledger, "sl-1"), "not-allowed: only SN"),
        (empty, "exactly the genesis"),
    ],
)
def test_a_block_0_without_a_valid_genesis_is_refused(ledger: Ledger, raw: Forge, reason: str) -> None:
    with pytest.raises(MalformedError, match=f"block 0 is not the genesis of a network: .*({reason})"):
        Chain().append(raw(ledger))


def test_a_second_genesis_is_refused(ledger: Ledger) -> None:
    again = ledger.write("sn-1", network.CONTRACT, genesis(ledger))
    with pytest.raises(Rejection, match="founded-already"):
        ledger.commit(again)
