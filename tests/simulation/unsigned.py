"""The one thing of the ledger that the simulation leaves out: the arithmetic of signatures.

Who may send what is judged as ever, by the certificate that a transaction names.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from swarmlearning.identity.certificates import load_leaf, thumbprint
from swarmlearning.ledger import admission
from swarmlearning.ledger.transaction import SignedTransaction, Transaction

CERTIFICATES = Path(__file__).with_name("certificates")
"""Always the same, since the order of leaders follows from them; they were made by `ca.py`, and nobody has their keys.
"""
ORGANISATIONS = tuple(f"org-{number}" for number in range(1, 6))
"""Organisations of some swarms besides the one that every network begins with."""


class Papers(NamedTuple):
    """Certificates that several nodes share: one for all SNs, all SLs, an SL that is revoked, and the operator."""

    authority: str
    pems: dict[str, str]
    thumbprints: dict[str, str]
    valid_from_ms: int


@cache
def papers() -> Papers:
    """Reads the certificates, once in a process."""
    pems = {kind: (CERTIFICATES / f"{kind.lower()}.pem").read_text() for kind in ("CA", "SN", "SL", "SL-2", "SWCI")}
    leaves = {kind: load_leaf(pem) for kind, pem in pems.items()}
    begin = int(max(leaf.not_valid_before_utc.timestamp() for leaf in leaves.values()) * 1000)
    kinds = [paper(name, kind) for name in ORGANISATIONS for kind in ("CA", "SL", "SN", "SWCI")]
    pems |= {kind: (CERTIFICATES / f"{kind.lower()}.pem").read_text() for kind in kinds}
    prints = {kind: thumbprint(load_leaf(pem)) for kind, pem in pems.items()}
    return Papers(pems["CA"], pems, prints, begin)


def paper(organisation: str, kind: str) -> str:
    """Returns the name of an organisation's certificate: of its authority (CA), sites (SL), SNs or operator."""
    return f"{organisation}-{kind}"


def signed(content: Transaction, kind: str, number: str) -> SignedTransaction:
    """Returns a transaction as if a node with this certificate had signed it; its id is a number."""
    return SignedTransaction(raw="", id=number, signer=papers().thumbprints[kind], content=content)


@contextmanager
def signatures_unchecked() -> Iterator[None]:
    """Accepts every signature while inside."""
    original = admission._check_signature
    admission._check_signature = lambda signed, certificate: None
    try:
        yield
    finally:
        admission._check_signature = original
