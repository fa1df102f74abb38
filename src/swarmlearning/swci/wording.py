"""Errors name commands of the command line; what SWCI prints names its own, where it has the same."""

import re
from typing import Final

_OURS: Final = {
    r"swarm task list": "LIST TASKS",
    r"swarm task finalize": "FINALIZE TASK",
    r"swarm task delete": "DELETE TASK",
    r"swarm taskrunner create": "CREATE TASKRUNNER",
    r"swarm taskrunner show": "GET TASKRUNNER STATUS",
    r"swarm taskrunner reset": "RESET TASKRUNNER",
    r"swarm taskrunner assign (\S+) (\S+) --target": r"ASSIGN TASK \1 TO \2 TARGET",
    r"swarm node list": "LIST NODES",
    r"swarm proposal sign": "SIGN PROPOSAL",
}


def in_swci(text: str) -> str:
    """The text with commands of SWCI in place of those of the command line that do the same."""
    for command, ours in _OURS.items():
        text = re.sub(rf"\b{command}\b", ours, text)
    return text
