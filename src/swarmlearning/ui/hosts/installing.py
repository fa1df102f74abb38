"""Installs, upgrades and removes the product on a host, from a bundle, without a package index."""

from typing import Final

import msgspec

from swarmlearning.ui.hosts.bundle import REQUIREMENTS, Bundle, BundleError
from swarmlearning.ui.hosts.facts import Facts
from swarmlearning.ui.hosts.judging import Plan, faults, judge
from swarmlearning.ui.hosts.layout import COMPLETE, MARKER, Layout
from swarmlearning.ui.hosts.machine import Machine, MachineError, checked
from swarmlearning.ui.hosts.probe import probe
from swarmlearning.ui.hosts.progress import Tell
from swarmlearning.ui.hosts.shipping import ship
from swarmlearning.ui.hosts.wheelhouse import FOLDER

INSTALL_SECONDS: Final = 900.0
OWN: Final = "requirements-own.txt"
"""The product's own wheels with their hashes, beside those of its dependencies."""

_CLAIM: Final = f"""
set -eu; umask 022
[ -e "$1" ] || mkdir -p "$1"
if [ ! -e "$1/{MARKER}" ] && [ -n "$(ls -A "$1")" ]; then echo "$1 holds files of somebody else" >&2; exit 9; fi
[ ! -f "$2/{COMPLETE}" ] || echo whole
"""

_INSTALL: Final = f"""
set -eu; umask 022
python=$1 version=$2 bundle=$3
rm -rf "$version" "$bundle/pip"
mkdir -p "$(dirname "$version")"
"$python" -I -m zipfile -e "$bundle"/{FOLDER}/pip-*-none-any.whl "$bundle/pip"
"$python" -I -m venv --without-pip "$version"
"$version/bin/python" -I "$bundle/pip/pip" --isolated --quiet --disable-pip-version-check --no-cache-dir --no-input \\
    install --no-deps --only-binary :all: --no-index --find-links "$bundle/{FOLDER}" --find-links "$bundle/wheels" \\
    --require-hashes --requirement "$bundle/{REQUIREMENTS}" --requirement "$bundle/{OWN}"
for each in "$bundle"/bin/*; do [ ! -f "$each" ] || cp "$each" "$version/bin/"; done
cp -R "$bundle/scripts" "$version/scripts" 2>/dev/null || true
"$version/bin/swarm" --version
: > "$version/{COMPLETE}"
"""

_SWITCH: Final = """
set -eu; umask 022
cd "$1"
before=$(readlink current || true)
rm -f current.new; ln -s "versions/$2" current.new; mv -fT current.new current
[ -e bin ] || [ -L bin ] || ln -s current/bin bin
printf '%s\n' "${before##*/}"
"""

_PRUNE: Final = """
set -eu
cd "$1"; kept=$2; too=$3
rm -rf bundles
for each in versions/*; do
    case ${each##*/} in "$kept"|"$too") ;; *) rm -rf "$each";; esac
done
"""

_REMOVE: Final = f"""
set -eu
cd "$1"
[ -f {MARKER} ] || {{ echo "$1 was not installed from here" >&2; exit 9; }}
rm -rf versions bundles
rm -f current current.new bin
if [ "$2" = data ]; then
    rm -rf nodes projects
    rm -f {MARKER}
    cd /; rmdir "$1" 2>/dev/null || true
fi
"""


class _Marker(msgspec.Struct, frozen=True):
    """What the marker says: by whom this folder is used."""

    product: str = "swarmlearning"
    by: str = "SLM-UI"
    format: int = 1


async def check(machine: Machine, plan: Plan, tell: Tell) -> Facts:
    """What the host is. Raises `MachineError` that names all that is in the way of the plan."""
    tell("check", "running")
    facts = await probe(machine, plan.layout)
    found = judge(facts, plan)
    if in_the_way := faults(found):
        raise MachineError(f"{machine.name}: " + "; ".join(each.text for each in in_the_way))
    python = facts.python
    assert python is not None  # a fault otherwise
    tell("check", "done", f"{facts.system}, Python {'.'.join(map(str, python.version))}")
    return facts


async def install(machine: Machine, bundle: Bundle, plan: Plan, tell: Tell) -> str:
    """Puts the bundle's version beside those that are there; which one is used stays as it is, unless it is the first.

    Nothing is copied to a host on which it could not run. Returns the version's name there, `Bundle.name`. Raises
    `MachineError`, `BundleError`.
    """
    facts = await check(machine, plan, tell)
    layout, name = plan.layout, bundle.name
    try:
        python = bundle.python(facts)
    except BundleError as error:
        raise BundleError(f"{machine.name}: {error}") from error
    if await claim(machine, layout, name):
        tell("install", "done", f"version {bundle.version} is there already")
    else:
        target = layout.bundle(name)
        await ship(machine, bundle, bundle.files_for(python.version, facts.machine), python.path, target, tell)
        tell("install", "running", f"version {bundle.version}")
        await machine.put(bundle.own_requirements().encode(), f"{target}/{OWN}", 0o644)
        words = (python.path, layout.version(name), target)
        checked(machine, await machine.run(_INSTALL, *words, seconds=INSTALL_SECONDS), f"installing {bundle.version}")
        tell("install", "done", f"version {bundle.version} in {layout.prefix}")
    if not facts.installed:
        await switch(machine, layout, name)
        await prune(machine, layout, name)
    return name


async def claim(machine: Machine, layout: Layout, name: str) -> bool:
    """Marks the folder as ours; returns whether this version is there, and whole. Raises `MachineError`, also where the
    folder is somebody else's."""
    claimed = await machine.run(_CLAIM, layout.prefix, layout.version(name))
    whole = checked(machine, claimed, f"using {layout.prefix}").text.strip() == "whole"
    await machine.put(msgspec.json.encode(_Marker()) + b"\n", layout.marker, 0o644)
    return whole


async def switch(machine: Machine, layout: Layout, name: str) -> str:
    """Lets nodes that start from now on be of this version; returns the one before, empty where there was none."""
    ran = await machine.run(_SWITCH, layout.prefix, name)
    return checked(machine, ran, f"switching to {name}").text.strip()


async def prune(machine: Machine, layout: Layout, kept: str, too: str = "") -> None:
    """Removes the copied bundles and all versions but these."""
    checked(machine, await machine.run(_PRUNE, layout.prefix, kept, too), "removing old versions")


async def remove(machine: Machine, layout: Layout, tell: Tell, *, data: bool = False) -> None:
    """Removes what was installed, and nothing else: what the nodes keep, their keys too, only with `data`.

    Its nodes have to be stopped before. Raises `MachineError`, also where the folder is somebody else's.
    """
    tell("remove", "running")
    words = (layout.prefix, "data" if data else "")
    checked(machine, await machine.run(_REMOVE, *words), f"removing the product from {layout.prefix}")
    tell("remove", "done")
