"""The page of transactions: what each contract takes from whom, from the tables by which every node judges."""

from collections.abc import Iterator
from typing import Any

import swarmlearning.ledger.contracts.training.state as training
from reference import runners
from reference.markdown import code, first_sentence, prose, table
from swarmlearning.ledger.contracts.contract import ANY
from swarmlearning.ledger.contracts.registry import KINDS


def page() -> str:
    """The page."""
    parts = [
        "# Transactions\n\nEvery node applies every block by these tables. *Act* names what a policy "
        "(`swarm policy list`) may demand more signatures for.\n"
    ]
    for kind in KINDS:
        parts.append(f"## {_title(kind)}\n")
        parts.append(table(("transaction", "from", "act", ""), _rules(kind)))
        if kind.kind == "taskrunner":
            parts.append(f"{runners.picture()}\n`ResetTaskrunner` leads from every state to `IDLE`.\n")
    parts.append(f"## How a training goes\n\n{prose(training.__doc__).partition('-------------------')[2].strip()}\n")
    return "\n".join(parts)


def _title(kind: Any) -> str:
    return f"Contract: {kind.kind}"


def _rules(kind: Any) -> Iterator[tuple[str, str, str, str]]:
    for body, rule in kind.rules.items():
        yield code(body.__name__), _roles(rule), code(rule.act.name) if rule.act else "", first_sentence(body.__doc__)


def _roles(rule: Any) -> str:
    roles = rule.permission.roles
    return "any node" if roles == ANY else ", ".join(sorted(roles))
