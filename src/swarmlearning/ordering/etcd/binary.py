"""Finding an etcd that can be trusted with the order of the ledger."""

import asyncio
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from swarmlearning.ordering.protocols import OrderingError

VARIABLE = "SWARM_ETCD"
OLDEST = (3, 4)
CORRUPTING = ((3, 5, 0), (3, 5, 2))
"""First and last release that can corrupt its data after a crash (etcd's own advisory)."""

HOW_TO_INSTALL = (
    f"install it (Debian, Ubuntu: apt-get install etcd-server) or name the program in the variable {VARIABLE}"
)


def find_binary(environ: Mapping[str, str]) -> Path | None:
    """The etcd program from `SWARM_ETCD` or `PATH`; None when there is none. Raises `OrderingError` for a bad name."""
    named = environ.get(VARIABLE)
    if named:
        if shutil.which(named) is None:
            raise OrderingError(f"{VARIABLE}={named}: no such program")
        return Path(named)
    found = shutil.which("etcd", path=environ.get("PATH"))
    return Path(found) if found else None


def require_binary(environ: Mapping[str, str]) -> Path:
    """The etcd program. Raises `OrderingError` when there is none."""
    binary = find_binary(environ)
    if binary is None:
        raise OrderingError(f"this needs etcd, which is not in PATH: {HOW_TO_INSTALL}")
    return binary


async def check_version(binary: Path) -> str:
    """The version of this etcd. Raises `OrderingError` for one that is too old or can corrupt data."""
    try:
        process = await asyncio.create_subprocess_exec(
            str(binary), "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(10):
            output, _ = await process.communicate()
    except (OSError, TimeoutError) as error:
        raise OrderingError(f"{binary}: cannot be run: {error}") from error
    return judge_version(binary, output.decode(errors="replace"))


def judge_version(binary: Path, output: str) -> str:
    """The version in the output of `etcd --version`. Raises `OrderingError` for one that must not be used."""
    match = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", output)
    if match is None:
        raise OrderingError(f"{binary}: does not report its version as etcd does: {output[:100]!r}")
    version = (int(match[1]), int(match[2]), int(match[3]))
    text = ".".join(map(str, version))
    if version[:2] < OLDEST:
        raise OrderingError(f"{binary}: etcd {text} is too old, 3.4 is the oldest that works; {HOW_TO_INSTALL}")
    if CORRUPTING[0] <= version <= CORRUPTING[1]:
        raise OrderingError(f"{binary}: etcd {text} can corrupt its data (3.5.0 to 3.5.2 can); install 3.5.3 or later")
    return text
