"""The UI's own certificate, and the office of its organisation.

NAME/office/      the organisation's authority, its key encrypted by a passphrase that is kept nowhere
NAME-identity/    the key (mode 0600) and certificate of the UI itself: beside its folder NAME, as the keys of nodes,
                  so that a copy of the folder has no secret that can be used; in no backup, since it can be issued anew
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from swarmlearning.files import make_private
from swarmlearning.identity.ca import KeyPair
from swarmlearning.identity.certificates import CertificateError, load_certificate
from swarmlearning.identity.files import FileSource, IdentityFiles
from swarmlearning.identity.identity import IdentityError
from swarmlearning.identity.office import Office
from swarmlearning.identity.requests import make_request, read_request
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ui.hosts.certifying import DAYS
from swarmlearning.ui.hosts.founding import open_office
from swarmlearning.ui.hosts.logins import Secret
from swarmlearning.ui.setup.state import SETTING, SetupError, read_setup
from swarmlearning.ui.store.database import Database
from swarmlearning.ui.store.settings import read

logger = logging.getLogger("swarm.ui")
OFFICE: Final = "office"


def own(folder: Path) -> Workspace:
    """Where the UI's own key and certificate are, beside its folder."""
    return Workspace(folder.with_name(f"{folder.name}-identity"))


def make_own(folder: Path) -> Workspace:
    """The same, made for the UI's user alone. Raises `SetupError` where that is not possible."""
    made = own(folder)
    try:
        make_private(made.root.parent)
        made.root.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SetupError(
            "setup.not-made",
            f"{made.root}, where the UI's key is kept, cannot be made ({error.strerror}): make that folder for the "
            "UI's user by hand, or choose a --data-dir beside which it may write",
            path=str(made.root),
        ) from error
    return made


class Opened(NamedTuple):
    """The office of the organisation, which signs while this is in memory, and its authority's certificate."""

    office: Office
    authority: x509.Certificate


def authority(folder: Path, organisation: str) -> x509.Certificate | None:
    """The authority of the organisation; None before it is made. Raises `CertificateError` for a damaged file."""
    path = Workspace(folder / OFFICE).authority_certificate(organisation)
    return load_certificate(path.read_bytes()) if path.exists() else None


def files(folder: Path, node: str) -> IdentityFiles | None:
    """The UI's own certificate, by its name in it; None where it has none."""
    kept = own(folder)
    if not (node and kept.certificate(node).exists() and kept.key(node).exists()):
        return None
    return IdentityFiles(None, kept.capath, kept.certificate(node), kept.key(node))


def certificate(folder: Path, node: str) -> x509.Certificate | None:
    """The same, as it can be shown. Raises `CertificateError` for a damaged file."""
    found = files(folder, node)
    return load_certificate(found.cert.read_bytes()) if found is not None and found.cert is not None else None


def opened(folder: Path, organisation: str, passphrase: Secret) -> Opened:
    """The office. Raises `SetupError` for another passphrase, `CertificateError` for files that are damaged."""
    try:
        return Opened(*open_office(Workspace(folder / OFFICE), organisation, passphrase))
    except CertificateError as error:
        if authority(folder, organisation) is None:
            raise
        raise SetupError("setup.wrong-passphrase", "this is not the passphrase of the authority's key") from error


def establish(folder: Path, organisation: str, passphrase: Secret, names: Sequence[str], ips: Sequence[str]) -> str:
    """Makes the authority, unless it is there, and issues the UI's certificate by it, whose key is made here; returns
    the UI's name in it. `names`, `ips`: of this machine, for browsers. Raises `UserError`."""
    workspace, node = make_own(folder), f"UI-{organisation}"
    make_private(folder / OFFICE)
    office, certificate = opened(folder, organisation, passphrase)
    key = ec.generate_private_key(ec.SECP256R1())
    request = read_request(make_request(key, node, names, ips).encode())
    signed = office.sign(request, DAYS)
    workspace.trust(certificate)
    workspace.save_node(node, KeyPair(signed, key))
    return node


def discard(folder: Path) -> None:
    """Removes the authority and the UI's certificate. Raises `SetupError` where that is not possible."""
    try:
        for each in (folder / OFFICE, own(folder).root):
            if each.exists():
                shutil.rmtree(each)
    except OSError as error:
        raise SetupError(
            "setup.not-removed", f"{error.filename}: {error.strerror}", path=str(error.filename)
        ) from error


def source(folder: Path, node: str) -> FileSource:
    """The UI's identity, as long as it runs. Raises `IdentityError`."""
    found = files(folder, node)
    if found is None:
        raise SetupError("setup.no-certificate", "the UI has no certificate yet")
    return FileSource(found)


class Kept(NamedTuple):
    """What a set-up has left for the next start: the UI's identity, and an SN of its network."""

    source: FileSource
    sn: str
    network_id: str


def kept_network(folder: Path, database: Database) -> Kept | None:
    """What is used where the UI is started without a certificate; None before a set-up, and where its certificate
    cannot be used any more: the set-up then issues another."""
    setup = read_setup(database.now(lambda sql: read(sql, SETTING)))
    if not setup.network_id or files(folder, setup.node) is None:
        return None
    try:
        return Kept(source(folder, setup.node), setup.sn, setup.network_id)
    except IdentityError as error:
        logger.warning("%s. The page Set-up issues another certificate (step Organisation)", error)
        return None
