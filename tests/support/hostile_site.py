"""A training script that tries what a site's privacy lock forbids, and then trains with changes of any length.

`python hostile_site.py KEY POLICY RECORD …`: the arguments after these are those of `ml.py`. It prints a line for
each attempt: `HELD what`, or `BROKE what`.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from support import ml

ATTEMPTS: dict[str, Callable[[Path, Path, Path], object]] = {
    "reads the node's key": lambda key, policy, record: key.read_bytes(),
    "reads the policy": lambda key, policy, record: policy.read_bytes(),
    "rewrites the policy": lambda key, policy, record: policy.write_text("norm: 1e9"),
    "replaces the policy": lambda key, policy, record: _replace(policy),
    "forgets what was given": lambda key, policy, record: record.unlink(),
    "makes another record": lambda key, policy, record: record.write_bytes(b""),
    "opens the data directory": lambda key, policy, record: list(_data().iterdir()),
}


def main() -> None:
    paths = [Path(word) for word in sys.argv[1:4]]
    sys.argv[1:4] = []
    for what, attempt in ATTEMPTS.items():
        try:
            attempt(*paths)
        except OSError:
            print("HELD", what, flush=True)
        else:
            print("BROKE", what, flush=True)
    ml.main()


def _data() -> Path:
    """The SL's data directory: where PROCESS puts it, beside the folder of the channel."""
    return Path(os.environ["SWARM_CHANNEL"]).parent.parent / "data"


def _replace(policy: Path) -> None:
    made = policy.with_name("made")
    made.write_text("norm: 1e9")
    made.replace(policy)


if __name__ == "__main__":
    main()
