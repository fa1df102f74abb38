"""A training script that tries what a site's privacy lock forbids, and then trains with changes of any length.

`python hostile_site.py KEY POLICY RECORD DATA …`: the arguments after these are those of `ml.py`. DATA is the SL's data
directory, as it lies from the folder of the channel. It prints a line for each attempt: `HELD what: why`, or
`BROKE what`.
"""

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from support import ml


class Places(NamedTuple):
    """Where the site has what its lock needs."""

    key: Path
    policy: Path
    record: Path
    data: Path


ATTEMPTS: dict[str, Callable[[Places], object]] = {
    "reads the node's key": lambda site: site.key.read_bytes(),
    "reads the policy": lambda site: site.policy.read_bytes(),
    "rewrites the policy": lambda site: site.policy.write_text("norm: 1e9"),
    "replaces the policy": lambda site: _replace(site.policy),
    "forgets what was given": lambda site: site.record.unlink(),
    "makes another record": lambda site: site.record.write_bytes(b""),
    "opens the data directory": lambda site: list(site.data.iterdir()),
    "puts another data directory in its place": lambda site: site.data.rename(site.data.with_name("other")),
    "reads the variables of the node": lambda site: _variables_of_node(),
    "becomes root": lambda site: os.setuid(0),
}


def main() -> None:
    key, policy, record, data = map(Path, sys.argv[1:5])
    sys.argv[1:5] = []
    site = Places(key, policy, record, Path(os.environ["SWARM_CHANNEL"]).parent / data)
    for what, attempt in ATTEMPTS.items():
        try:
            attempt(site)
        except OSError as error:
            print(f"HELD {what}: {error.strerror}", flush=True)
        else:
            print("BROKE", what, flush=True)
    ml.main()


def _variables_of_node() -> None:
    """Returns where a process shows the variable that an SL has and its script has not. Raises `PermissionError`."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"\0SL_UID=" in b"\0" + (process / "environ").read_bytes():
                return
    raise PermissionError(errno.EPERM, "no process shows them")


def _replace(policy: Path) -> None:
    made = policy.with_name("made")
    made.write_text("norm: 1e9")
    made.replace(policy)


if __name__ == "__main__":
    main()
