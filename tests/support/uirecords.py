"""What a UI has recorded of a ledger in memory: the runs of its trainings."""

from types import SimpleNamespace
from typing import Any, cast

from support.ledgerui import LedgerUi
from support.network import Ledger
from swarmlearning.ledger.history import steps
from swarmlearning.views.report import Recorder


def recorder_of(ledger: Ledger) -> Recorder:
    """The records of the ledger as it is."""
    made = Recorder()
    for step in steps(ledger.blocks):
        made.add(step)
    return made


def recording(ui: LedgerUi, recorder: Recorder) -> None:
    """This UI has these records."""
    ui.feed._records = cast(Any, SimpleNamespace(recorder=recorder, index=None))
