"""The one thing of the ledger that the simulation leaves out: the arithmetic of signatures.

Who may say what is judged as ever, by the certificate that a transaction names.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger import admission
from swarmlearning.ledger.transaction import SignedTransaction, Transaction


class Papers(NamedTuple):
    """A certificate for all SNs and one for all SLs: several nodes may share one."""

    authority: str
    sn: str
    sl: str
    thumbprints: dict[str, str]
    valid_from_ms: int


@cache
def papers() -> Papers:
    """Made once a process; nothing in a simulation depends on what is in them."""
    authority = create_authority("CA-1", 3650)
    pairs = {kind: issue(authority, f"{kind}-1", [], [], 3650) for kind in ("SN", "SL")}
    pems = {kind: to_pem(pair.certificate) for kind, pair in pairs.items()}
    begin = int(max(pair.certificate.not_valid_before_utc.timestamp() for pair in pairs.values()) * 1000)
    prints = {kind: thumbprint(pair.certificate) for kind, pair in pairs.items()}
    return Papers(to_pem(authority.certificate), pems["SN"], pems["SL"], prints, begin)


def signed(content: Transaction, kind: str, number: str) -> SignedTransaction:
    """As if an SN or SL had signed it; its id is a number."""
    return SignedTransaction(raw="", id=number, signer=papers().thumbprints[kind], content=content)


@contextmanager
def signatures_unchecked() -> Iterator[None]:
    """Inside, every signature holds."""
    original = admission._check_signature
    admission._check_signature = lambda signed, certificate: None
    try:
        yield
    finally:
        admission._check_signature = original
