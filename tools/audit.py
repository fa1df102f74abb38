"""Looks up every locked package in the database of known vulnerabilities, by pip-audit. `make audit`.

Without network, or with a registry that is only a mirror, pip-audit may audit nothing and end as if all were well. So
only a report that has every locked package counts: exit status 0 when none is vulnerable, 1 when some are, and 2 with
"not audited" where the report is missing or incomplete.
"""

import json
import re
import subprocess
import sys
from typing import Any, NamedTuple

from packaging.markers import Marker

from lock import NODES

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)(?: ; ([^\n\\]+))?", re.MULTILINE)


class Fault(Exception):
    """What was made is not complete; the message is for the operator."""


class Finding(NamedTuple):
    """A known vulnerability of a locked package. `fixed`: versions that do not have it."""

    package: str
    version: str
    vulnerability: str
    fixed: tuple[str, ...]


def locked_versions(lock: str) -> set[tuple[str, str]]:
    """Name and version of each package in a lock; some have several versions, for several versions of Python."""
    return {(name.lower(), version) for name, version, _ in _LOCKED.findall(lock)}


def _locked_here(lock: str) -> set[tuple[str, str]]:
    """Those of them that are installed by this Python on this system."""
    found = _LOCKED.findall(lock)
    return {(name.lower(), version) for name, version, marker in found if not marker or Marker(marker).evaluate()}


def findings(report: str, lock: str) -> list[Finding]:
    """What pip-audit's JSON report names. Raises `Fault` unless it is about every package of the lock.

    It is about this version of Python and this system: what is locked for others alone is in no report.
    """
    try:
        packages = json.loads(report)["dependencies"]
        skipped = {each["name"].lower(): each["skip_reason"] for each in packages if "skip_reason" in each}
        audited = {each["name"].lower(): each["version"] for each in packages if "skip_reason" not in each}
        found = [_finding(each, one) for each in packages for one in each.get("vulns", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Fault("pip-audit has given no report") from None
    if skipped:
        name = min(skipped)
        raise Fault(f"{len(skipped)} packages were left out, {name} since: {skipped[name]}")
    if missing := sorted(name for name, version in _locked_here(lock) if audited.get(name) != version):
        raise Fault(f"the report does not have {', '.join(missing[:5])}" + (", …" if len(missing) > 5 else ""))
    return found


def _finding(package: dict[str, Any], found: dict[str, Any]) -> Finding:
    return Finding(package["name"], package["version"], found["id"], tuple(found.get("fix_versions", ())))


def main(program: str) -> int:
    """Runs `pip-audit`, whose path this is; returns the exit status."""
    options = ("--strict", "--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off")
    done = subprocess.run([program, *options, "--requirement", str(NODES)], capture_output=True, text=True, check=False)
    try:
        found = findings(done.stdout, NODES.read_text())
    except Fault as fault:
        said = done.stderr.strip().rpartition("\n")[2]
        print(f"audit: NOT AUDITED: {fault}" + (f" ({said})" if said else ""), file=sys.stderr)
        return 2
    for each in found:
        print(f"{each.package} {each.version}: {each.vulnerability}, fixed in {', '.join(each.fixed) or 'no version'}")
    print(f"audit: {len(_locked_here(NODES.read_text()))} locked packages, {len(found)} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
