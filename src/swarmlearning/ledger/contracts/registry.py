"""The kinds of contracts that there are."""

from swarmlearning.ledger.contracts.contract import Contract
from swarmlearning.ledger.contracts.experiments.contract import EXPERIMENTS
from swarmlearning.ledger.contracts.network.contract import NETWORK
from swarmlearning.ledger.contracts.taskrunner.contract import LASTING_TASKRUNNERS, TASKRUNNERS
from swarmlearning.ledger.contracts.tasks.contract import TASKS
from swarmlearning.ledger.contracts.training.contract import SLICED_TRAINING, TRAINING

KINDS_1: tuple[Contract, ...] = (NETWORK, TRAINING, TASKS, TASKRUNNERS)
"""Those of rules version 1, in the order in which they learn that a node came or went."""
KINDS_2: tuple[Contract, ...] = (*KINDS_1, EXPERIMENTS)
"""Those of rules version 2."""
KINDS: tuple[Contract, ...] = (NETWORK, SLICED_TRAINING, TASKS, LASTING_TASKRUNNERS, EXPERIMENTS)
"""Those of the newest version."""
