"""Where the story plays: a network of three SNs, two bare hosts with SSH, a UI, and a person's browser."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from support.browser import Chromium, Tab
from support.certs import authority_in, make_workspace
from support.ports import fixed_port
from support.sns import Network, ThisHost
from support.sshd import SshHost
from support.swarm import Gate
from support.ui import Ui, start_ui
from swarmlearning.identity.office import make_office
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ui.hosts.addresses import PORT, Address
from swarmlearning.ui.pages.deployment import OFFICE
from uistory.files import GATE, SITES, write_files

AUTHORITY: Final = "ca-1"
PASSPHRASE: Final = "all nodes of this organisation"


class Place(NamedTuple):
    """What the stage is made in. `bundle`: what the hosts get, and which that is, in words."""

    net: Network
    chromium: Chromium
    bundle: Path
    from_bundle: str


class Stage(NamedTuple):
    """All of it. `files`: a folder with what a person uploads; scripts wait at the `gate`."""

    net: Network
    from_bundle: str
    hosts: dict[int, SshHost]
    ui: Ui
    tab: Tab
    chromium: Chromium
    files: Path
    gate: Gate


@contextmanager
def stage(place: Place) -> Iterator[Stage]:
    """The UI asks the first SN; it has the organisation's authority, encrypted, and the bundle for the hosts."""
    net, chromium = place.net, place.chromium
    folder = net.directory
    net.identities |= make_workspace(folder / "cert", ["UI-1"])
    net.found(3)
    write_files(folder / "files", folder / "cert" / "ca" / "capath" / "ca-1-cert.pem")
    gate = Gate(folder / "files" / GATE)
    with ExitStack() as stack:
        hosts = {number: stack.enter_context(_host(net, number)) for number in SITES}
        make_office(Workspace(folder / "ui" / OFFICE), AUTHORITY, authority_in(folder / "cert"), PASSPHRASE.encode())
        ui = start_ui(net.processes, folder / "ui", net.identities["UI-1"], net.api(1), bundle=place.bundle)
        tab = stack.enter_context(chromium.tab(ignore_https_errors=True, accept_downloads=True))
        yield Stage(net, place.from_bundle, hosts, ui, tab, chromium, folder / "files", gate)
    gate.close()


def _host(net: Network, number: int) -> SshHost:
    """A host of its own, or where all are this one an address of its own."""
    folder = net.directory / f"host-{number}"
    if isinstance(net.hosts, ThisHost):
        return SshHost(folder, at=Address(f"127.0.0.{number}", fixed_port()))
    return SshHost(folder, at=Address(net.hosts.address(number), PORT), within=net.hosts.command(number))
