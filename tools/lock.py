"""Writes all packages that the wheels need, in one version with its hashes: `packaging/requirements.txt` for the nodes,
`packaging/requirements-client.txt` for training scripts, whose versions are the same.

What lies in the images is what these files name, byte for byte. No address of a registry is in them.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
NODES, CLIENT = ROOT / "packaging" / "requirements.txt", ROOT / "packaging" / "requirements-client.txt"
PROJECT, CLIENT_PROJECT = ROOT / "pyproject.toml", ROOT / "packaging" / "client" / "pyproject.toml"
EXTRAS = ("spiffe", "privacy", "ui")
"""Extras that all images have: identities from an agent, the ε of a privacy lock, and the web interface."""
OWN = "swarmlearning"
"""Names of packages that are built from this tree begin with this."""

HEADER = "# What images and bundle install, with hashes. Made by `make lock` from the dependencies in pyproject.toml.\n"


def requirements(*projects: Path) -> list[str]:
    """The dependencies of these projects and of their `EXTRAS`, without those on each other."""
    read = [tomllib.loads(path.read_text())["project"] for path in projects]
    found = [each for project in read for each in project["dependencies"]]
    extras = [project.get("optional-dependencies", {}) for project in read]
    found += [each for extra in extras for name in EXTRAS for each in extra.get(name, ())]
    return sorted({each for each in found if not each.startswith(OWN)})


def lock(uv: str, wanted: list[str], target: Path, *constraints: Path) -> None:
    """Resolves what is wanted, in versions of the constraints. Raises `CalledProcessError`."""
    settings = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header")
    quiet = ("--no-emit-index-url", "--no-emit-find-links", "--quiet")
    limits = [f"--constraint={file}" for file in constraints]
    command = [uv, "pip", "compile", *settings, *quiet, *limits, "-"]
    done = subprocess.run(command, input="\n".join(wanted), stdout=subprocess.PIPE, text=True, check=True)
    target.write_text(HEADER + done.stdout)


def main() -> None:
    """Writes both files; the argument is the path of `uv`."""
    lock(sys.argv[1], requirements(PROJECT, CLIENT_PROJECT), NODES)
    lock(sys.argv[1], requirements(CLIENT_PROJECT), CLIENT, NODES)


if __name__ == "__main__":
    main()
