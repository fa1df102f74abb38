"""Block 0: whatever is not the genesis of a network founds none."""

from collections.abc import Callable

import msgspec
import pytest

from support.network import Ledger, read
from swarmlearning.ledger import block
from swarmlearning.ledger.block import Header, transaction_root
from swarmlearning.ledger.bodies import Genesis
from swarmlearning.ledger.chain import Chain
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


def founded_by_an_sl(ledger: Ledger) -> bytes:
    sl = ledger.actors["sl-1"]
    content = msgspec.structs.replace(
        read(ledger.blocks[0]).transactions[0].content, body=genesis(ledger, certificate=sl.pem)
    )
    signed = sign(content, sl.signer)
    header = msgspec.structs.replace(read(ledger.blocks[0]).header, transaction_root=transaction_root([signed.id]))
    return block.seal(header, [signed], sl.signer).raw


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
        (lambda ledger: founded(ledger, genesis(ledger, rules_version=2)), "name different rules"),
        (lambda ledger: founded(ledger, genesis(ledger, organisations=())), "untrusted|no-authority"),
        (lambda ledger: founded(ledger, genesis(ledger, certificate=ledger.actors["sl-1"].pem)), "bad-certificate"),
        (founded_by_an_sl, "not-allowed: only SN"),
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
