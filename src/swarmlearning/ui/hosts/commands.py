"""What somebody would type to do on a host what the UI does there, for whoever has to do it by hand. Pure.

A UI does more: it compares keys and checksums, waits until nodes are ready, and goes back where that fails.
"""

import shlex
from collections.abc import Sequence
from typing import Final

from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.nodes import How, unit_name
from swarmlearning.ui.hosts.running import SCRIPT

MOST: Final = 20
"""Lines that are shown of one act."""
NEXT: Final = "; "
LOOKING: Final = "cat /etc/os-release; uname -rm; python3 --version; df -h .; free -h; date -u; ss -ltn"
"""Shows of a host what a look is for; it changes nothing there."""


def joined(lines: Sequence[str]) -> str:
    """All of them as one line, with the number of those that are left out."""
    left = f" # and {len(lines) - MOST} more" if len(lines) > MOST else ""
    return NEXT.join(lines[:MOST]) + left


def by_ssh(address: Address, user: str, line: str) -> str:
    """This line at the host."""
    return shlex.join(("ssh", "-p", str(address.port), _login(address.host, user), line))


def copying(address: Address, user: str, source: str, target: str) -> str:
    """A file or folder from here to the host."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return shlex.join(("scp", "-r", "-P", str(address.port), source, f"{_login(host, user)}:{target}"))


def fetching(address: Address, user: str, folder: str, name: str) -> str:
    """The first file of this name in a folder of results below that one, as a file here."""
    found = shlex.join(("find", folder, "-path", f"*/results/{name}", "-exec", "cat", "{}", ";", "-quit"))
    return f"{by_ssh(address, user, found)} > {shlex.quote(name)}"


def keys_of(address: Address) -> str:
    """The fingerprints of a host's keys, as it is to be compared with what the host says itself."""
    return f"{shlex.join(('ssh-keyscan', '-p', str(address.port), address.host))} | ssh-keygen -lf -"


def starting(layout: Layout, name: str, how: How) -> str:
    """Has a node run that was placed."""
    script = f"{layout.node(name)}/{SCRIPT}"
    if how == "detached":
        return f"setsid sh {shlex.quote(script)} > /dev/null 2>&1 &"
    return shlex.join(("systemd-run", *_user(how), f"--unit={unit_name(layout, name)}", "/bin/sh", script))


def stopping(layout: Layout, name: str, how: How) -> str:
    """Stops it in good order."""
    if how == "detached":
        return f"kill $(cut -d' ' -f1 {shlex.quote(layout.node(name) + '/pid')})"
    return shlex.join(("systemctl", *_user(how), "stop", unit_name(layout, name)))


def installing(layout: Layout, version: str) -> str:
    """Installs a bundle that was copied there, without any network."""
    bundle, folder = shlex.quote(layout.bundle(version)), shlex.quote(layout.version(version))
    pip = f"{folder}/bin/pip install --no-index --find-links {bundle}/wheelhouse --find-links {bundle}/wheels"
    return f"python3 -m venv {folder} && {pip} swarmlearning && ln -sfn {folder} {shlex.quote(layout.current)}"


def removing(layout: Layout, *, data: bool) -> str:
    """Removes what was installed, once its nodes are stopped; with `data` what they keep, too."""
    parts = ("versions", "bundles", "current", "bin", *(("nodes", "projects") if data else ()))
    return shlex.join(("rm", "-rf", *(f"{layout.prefix}/{each}" for each in parts)))


def _login(host: str, user: str) -> str:
    return f"{user}@{host}" if user else host


def _user(how: How) -> tuple[str, ...]:
    return ("--user",) if how == "user" else ()
