"""A transaction and a header with the bytes that they must have for ever."""

from support.network import CONTRACT
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.signing import Signer
from swarmlearning.ledger.block import Header
from swarmlearning.ledger.bodies import ReportPerformance
from swarmlearning.ledger.transaction import Anchor, Transaction

PAIR = issue(create_authority("CA-1", 30), "SL-1", [], [], 30)
SIGNER = Signer(PAIR.certificate, PAIR.key)

TRANSACTION = Transaction(
    network="a" * 64,
    sender="sl-1",
    incarnation=3,
    sequence=7,
    anchor=Anchor(height=11, hash="b" * 64),
    expires_at_height=1035,
    contract=CONTRACT,
    body=ReportPerformance(round=2, loss=0.1, metric=None, epochs=1, total_epochs=4),
)
TRANSACTION_BYTES = (
    b'{"anchor":{"hash":"' + b"b" * 64 + b'","height":11},"body":{"epochs":1,"kind":"ReportPerformance","loss":0.1,'
    b'"metric":null,"round":2,"total_epochs":4},"contract":"defaultbb.cqdb.sml.hpe","expires_at_height":1035,'
    b'"incarnation":3,"network":"' + b"a" * 64 + b'","sender":"sl-1","sequence":7}'
)
HEADER = Header(
    network="a" * 64,
    height=12,
    previous="b" * 64,
    time_ms=1_700_000_000_000,
    sealer="sn-1",
    transaction_root="c" * 64,
    state_hash="d" * 64,
    rules_version=1,
)
HEADER_BYTES = (
    b'{"height":12,"network":"' + b"a" * 64 + b'","previous":"' + b"b" * 64 + b'","rules_version":1,"sealer":"sn-1",'
    b'"state_hash":"' + b"d" * 64 + b'","time_ms":1700000000000,"transaction_root":"' + b"c" * 64 + b'"}'
)
