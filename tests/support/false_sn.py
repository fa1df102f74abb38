"""An SN that deceives: it dates its blocks an hour ahead.

`python false_sn.py FILE python -m swarmlearning.cli.main sn OPTIONS` is `swarm sn OPTIONS` that deceives once FILE is
there; other commands are what they are.
"""

import sys
from pathlib import Path

from swarmlearning.cli.main import main
from swarmlearning.node.clocks import clock_ms
from swarmlearning.sn.clocks import Clocks

HOUR_MS = 3_600_000


def deceive(signal: Path) -> None:
    """From the moment when the file is there, blocks are dated ahead."""
    Clocks.now_ms = lambda self: clock_ms() + (HOUR_MS if signal.exists() else 0)  # type: ignore[method-assign]


if __name__ == "__main__":
    deceive(Path(sys.argv[1]))
    sys.argv = ["swarm", *sys.argv[sys.argv.index("swarmlearning.cli.main") + 1 :]]
    main()
