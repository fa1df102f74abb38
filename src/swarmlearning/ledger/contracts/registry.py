"""The kinds of contracts that there are."""

from swarmlearning.ledger.contracts.contract import Contract
from swarmlearning.ledger.contracts.network.contract import NETWORK
from swarmlearning.ledger.contracts.training.contract import TRAINING

KINDS: tuple[Contract, ...] = (NETWORK, TRAINING)
"""In the order in which they learn that a node came or went."""
