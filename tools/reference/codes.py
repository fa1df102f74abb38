"""The page of codes: refusals of the ledger, alerts, findings of the doctor, states of tasks, exit reasons."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import get_args

from reference.markdown import cell, code, table
from reference.source import PACKAGE, calls, modules, text_of
from swarmlearning.doctor.findings import RANK
from swarmlearning.doctor.wording import MEANINGS
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.taskrunner.bodies import Reason


def page() -> str:
    """The page."""
    return "\n".join(
        (
            "# Codes\n\nPrograms act on codes, which stay as they are from release to release; people read the text "
            "beside them. `…` stands for what differs from case to case.\n",
            "## Refusals of the ledger and the SN's API\n\nThe field `code` of an answer that is no success. A "
            "*transient* refusal only says that the chain has moved on meanwhile; `quota` passes by itself.\n",
            table(("code", "transient", "texts"), _refusals()),
            "## Alerts\n\nThe field `code` of an alert in `swarm status --json`. [Watch a swarm](../watch.md#alerts) "
            "says when each is raised.\n",
            table(("code", "where it is found"), _alerts()),
            "## Findings of `swarm doctor`\n\nIn the order in which they are told: the earlier one is the likelier "
            "cause.\n",
            table(("code", "text and remedy of the ways to other nodes"), _findings()),
            "## Reasons why a part of a task has failed\n",
            table(("code", ""), _reasons()),
        )
    )


def texts_of_refusals() -> dict[str, list[str]]:
    """The texts with which a code is given, by the code's name in `Code`."""
    found: dict[str, list[str]] = defaultdict(list)
    names = ("Rejection", "Refusal", "ApiError")
    for _, tree in modules("", names):
        for name in names:
            for call in calls(tree, name):
                match call.args:
                    case [ast.Attribute(value=ast.Name(id="Code"), attr=attr), text, *_] if text_of(text):
                        found[attr].append(text_of(text))
    return found


def _refusals() -> Iterator[tuple[str, str, str]]:
    texts = texts_of_refusals()
    for each in Code:
        shown = dict.fromkeys(texts[each.name])
        yield code(each.value), "yes" if each.transient else "", "<br>".join(map(cell, list(shown)[:4]))


def alert_codes() -> dict[str, str]:
    """The module in which each alert is found."""
    return {
        text_of(call.args[0]): path.stem
        for path, tree in modules("views/alerts")
        for call in calls(tree, "Alert")
        if call.args
    }


def _alerts() -> list[tuple[str, str]]:
    return [(code(each), code(f"views/alerts/{module}.py")) for each, module in sorted(alert_codes().items())]


def _findings() -> Iterator[tuple[str, str]]:
    meanings: dict[str, list[str]] = defaultdict(list)
    for meaning in MEANINGS.values():
        meanings[meaning.code].append(f"{meaning.text}: {meaning.remedy}")
    for each in RANK:
        yield code(each), "<br>".join(map(cell, meanings[each]))


def _reasons() -> Iterator[tuple[str, str]]:
    source = (PACKAGE / "ledger/contracts/taskrunner/bodies.py").read_text()
    for each in get_args(Reason):
        [remark] = re.findall(rf'^    "{each}",  # (.+)$', source, re.MULTILINE)
        yield code(each), cell(remark)
