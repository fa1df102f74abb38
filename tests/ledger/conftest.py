from functools import cache

import pytest

from support.network import Ledger
from swarmlearning.identity.ca import KeyPair, create_authority


@cache
def authority() -> KeyPair:
    return create_authority("CA-1", 3650)


@pytest.fixture
def ledger() -> Ledger:
    """A network with its SN, an operator and two SLs."""
    made = Ledger(authority())
    made.join("op", "SWCI")
    made.join("sl-1")
    made.join("sl-2")
    return made
