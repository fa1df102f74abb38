"""What all sites of a training have agreed on that decides its bytes: how values travel, and the outer optimizer."""

from swarmlearning.choices import Transfer, TransferBack
from swarmlearning.ledger.contracts.training.state import Training


def transfer_of(state: Training) -> Transfer:
    """How values travel to those who merge, from round 1 on."""
    return state.charter.transfer if state.charter else "float32"


def transfer_back_of(state: Training) -> TransferBack:
    """How what was merged travels back, from round 1 on."""
    return state.charter.transfer_back if state.charter else "float32"


def outer_of(state: Training) -> str:
    """The outer optimizer with its learning rate and momentum, as `nesterov (0.7, 0.9)`; empty without one."""
    chosen = state.terms.outer if state.terms else state.charter.outer if state.charter else None
    return str(chosen or "")


def agreed_text(state: Training) -> str:
    """In words, `values travel as int4, back as int8; outer optimizer nesterov (0.7, 0.9)`; empty with neither."""
    outer = outer_of(state)
    parts = [travel_text(transfer_of(state), transfer_back_of(state)), f"outer optimizer {outer}" if outer else ""]
    return "; ".join(filter(None, parts))


def travel_text(transfer: Transfer, back: TransferBack) -> str:
    """`values travel as int4, back as int8`; empty where whole models travel."""
    return "" if transfer == back == "float32" else f"values travel as {transfer}, back as {back}"
