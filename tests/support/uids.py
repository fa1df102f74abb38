"""UIDs in tests: real nodes have UUIDs, and nodes of ledgers in memory have names that a reader recognises."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from swarmlearning.ledger import admission

_check_uid = admission._check_uid


def uid(name: str) -> str:
    """A UUID, the same one for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def accept_names() -> None:
    """Lets ledgers in this process register nodes under names such as `sl-1`."""

    def accept(uid: str) -> None:
        """Every UID will do."""

    admission._check_uid = accept


@contextmanager
def uuids_only() -> Iterator[None]:
    """Registers nodes under UUIDs only, as every node of the product does."""
    admission._check_uid = _check_uid
    try:
        yield
    finally:
        accept_names()
