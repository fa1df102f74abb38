"""The parts of a round's time, as the block times of the ledger show them (to the millisecond)."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from participant import Done
from swarmlearning.ledger.block import read_header
from swarmlearning.ledger.bodies import Publish, Submit
from swarmlearning.ledger.rules import RULES
from swarmlearning.ordering.local import read_chain_file


def phase_seconds(chain: Path, first: int, rounds: Sequence[Sequence[Done]]) -> dict[str, float]:
    """Median time of each phase of these rounds, the first of which has this number on the ledger.

    *submit*: from the hand-over until the last submission is sealed; *merge*: until the result is; *deliver*: until
    the last participant has it in memory.
    """
    submitted: dict[int, float] = {}
    published: dict[int, float] = {}
    for raw in read_chain_file(chain):
        block = RULES[read_header(raw).rules_version].read(raw)
        for transaction in block.transactions:
            match transaction.content.body:
                case Submit(round=number):
                    submitted[number] = block.header.time_ms / 1000
                case Publish(round=number):
                    published[number] = block.header.time_ms / 1000
    ahead = time.time() - time.monotonic()  # blocks bear the time of day
    phases: dict[str, list[float]] = {"submit": [], "merge": [], "deliver": []}
    for number, done in enumerate(rounds, start=first):
        phases["submit"].append(submitted[number] - ahead - min(one.begin for one in done))
        phases["merge"].append(published[number] - submitted[number])
        phases["deliver"].append(max(one.end for one in done) + ahead - published[number])
    return {name: statistics.median(values) for name, values in phases.items()}
