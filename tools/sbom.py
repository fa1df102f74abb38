"""Writes the software bill of materials (CycloneDX 1.6, JSON) of what images and bundle install: every locked package
with version, package URL and the hashes of its files. `make sbom`.

The same lock gives the same file. It is written only if it names exactly what is locked.
"""

import json
import os
import subprocess
import sys
from typing import Any

from audit import Fault, locked_versions
from lock import NODES, PROJECT, ROOT
from swarmlearning import __version__

TARGET = ROOT / "dist" / f"swarmlearning-{__version__}.cdx.json"


def check(document: dict[str, Any], lock: str) -> int:
    """How many packages it names. Raises `Fault` unless they are those of the lock, each with a hash."""
    components = document.get("components", [])
    named = {(each["name"].lower(), each["version"]) for each in components}
    if differing := named ^ locked_versions(lock):
        raise Fault(f"the bill does not name what is locked: {', '.join(sorted(name for name, _ in differing))}")
    if bare := [each["name"] for each in components if not _hashes(each)]:
        raise Fault(f"the bill has no hashes of {', '.join(sorted(bare))}")
    return len(components)


def _hashes(component: dict[str, Any]) -> list[Any]:
    return [each for reference in component.get("externalReferences", []) for each in reference.get("hashes", [])]


def main(program: str) -> int:
    """Runs `cyclonedx-py`, whose path this is; returns the exit status."""
    options = ("--pyproject", str(PROJECT), "--sv", "1.6", "--of", "JSON", "--output-reproducible", "-o", "-")
    command = [program, "requirements", str(NODES), *options]
    quiet = os.environ | {"PYTHONWARNINGS": "ignore"}  # it warns that a lock says nothing of what needs what
    made = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=quiet)
    try:
        count = check(json.loads(made.stdout), NODES.read_text())
    except Fault as fault:
        print(f"sbom: {fault}", file=sys.stderr)
        return 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(made.stdout)
    print(f"{TARGET.relative_to(ROOT)}: {count} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
