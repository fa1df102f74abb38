"""`swarmLogCollector`: its arguments are checked as documented; what it collects comes with the issue on diagnosis."""

from __future__ import annotations

import sys
from collections.abc import Sequence

USAGE = 'Usage: swarmLogCollector "<DOCKER_HUB>" "workspace=<dir>" | "mlimage=<image>"'


def run(words: Sequence[str]) -> int:
    """Returns the exit status."""
    if list(words) == ["--help"]:
        print(USAGE)
        return 0
    hub, source = [*words, "", ""][:2]
    if not hub:
        print("ERROR: DOCKER HUB ARGUMENT IS EMPTY..Exiting!!", file=sys.stderr)
    elif not source.startswith(("workspace=", "mlimage=")) or source.endswith("="):
        print("ERROR: Either mlimage or workspace should be passed..Exiting!!", file=sys.stderr)
    else:
        print("swarmLogCollector: collecting logs is not available yet; `docker logs` shows a node's", file=sys.stderr)
    return 1
