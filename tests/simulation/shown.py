"""Transactions as a trace shows them."""

import msgspec

from swarmlearning.ledger.bodies import Receipt

UNINTERESTING = {
    "certificate",
    "version",
    "structure",
    "authorities",
    "size",
    "loss",
    "metric",
    "epochs",
    "total_epochs",
}


def short(body: msgspec.Struct) -> str:
    """Returns a transaction in readable form: digests by their first digits, no certificates."""
    shown = {name: value for name, value in msgspec.structs.asdict(body).items() if name not in UNINTERESTING}
    fields = ", ".join(f"{name} {_brief(value)}" for name, value in shown.items())
    return f"{type(body).__name__} {fields}"


def _brief(value: object) -> str:
    if isinstance(value, Receipt):
        left_out = "".join(f", without {one.uid} ({one.reason})" for one in value.exclusions)
        return "+".join(part.uid for part in value.contributions) + left_out
    text = str(value)
    return text[:6] if len(text) == 64 else text
