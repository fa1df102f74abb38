"""`swarm cert request`, `install`, `show` and `expiry`: certificates on the host whose key never leaves it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from swarmlearning.cli.certnames import host_name, ip, node_name
from swarmlearning.cli.command import command
from swarmlearning.cli.console import print_table
from swarmlearning.errors import UserError
from swarmlearning.identity.ca import names_of
from swarmlearning.identity.certificates import (
    CertificateError,
    common_name,
    is_authority,
    load_bundle,
    load_certificate,
    role_of,
    thumbprint,
    verify_chain,
)
from swarmlearning.identity.identity import read_certificates, read_file
from swarmlearning.identity.requests import MAX_REQUEST, fingerprint, make_request, read_request
from swarmlearning.identity.workspace import Workspace
from swarmlearning.views.names import displayed

Out = Annotated[Path, typer.Option("--out", help="Folder of this host's certificates.", file_okay=False)]
Node = Annotated[str, typer.Argument(help="The node, such as SL-1.", parser=node_name, metavar="NODE")]
HostIps = Annotated[
    list[str] | None, typer.Option("--host-ip", help="IP address of the node; repeatable.", parser=ip, metavar="IP")
]
DnsNames = Annotated[
    list[str] | None,
    typer.Option("--dns", help="Host name of the node; repeatable.", parser=host_name, metavar="HOST"),
]


def add_to(app: typer.Typer) -> None:
    """Makes these the sub-commands of `app`."""
    app.command("request")(request)
    app.command("install")(install)
    app.command("show")(show)
    app.command("expiry")(expiry)


@command("swarm cert request")
def request(
    node: Node,
    *,
    out: Out,
    host_ip: HostIps = None,
    dns: DnsNames = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a request that waits for its certificate.")] = False,
) -> None:
    """Make a new key, which stays here, and a request for its certificate, for the office that has your CA.

    To renew a certificate with a new key: host names and addresses that are not given are those of the present one.
    """
    workspace = Workspace(out)
    if workspace.request_key(node).exists() and not force:
        raise UserError(
            f"{workspace.request(node)} waits for its certificate already: install that, or give --force for a new key"
        )
    names, ips = (dns or [], host_ip or [])
    if not names and not ips and workspace.certificate(node).exists():
        names, ips = names_of(_certificate(workspace.certificate(node)))
    key = ec.generate_private_key(ec.SECP256R1())
    workspace.save_request(node, key, make_request(key, node, names, ips))
    print(
        f"{workspace.request(node)}: send it to the office of your organisation, which signs it (swarm ca sign).\n"
        f"Fingerprint of its key: {fingerprint(key.public_key())}\n"
        f"Then: swarm cert install {node} CERTIFICATE --out {out} --authority CA-CERTIFICATE"
    )


@command("swarm cert install")
def install(
    node: Node,
    certificate: Annotated[Path, typer.Argument(help="The certificate (PEM) that the office has issued.")],
    *,
    out: Out,
    authority: Annotated[
        list[Path] | None,
        typer.Option("--authority", help="Certificate of a CA that this node trusts, its own at least; repeatable."),
    ] = None,
) -> None:
    """Put a certificate in place that the office has issued for a request, or renewed; a running node follows it."""
    workspace, found = Workspace(out), _certificate(certificate)
    if common_name(found).upper() != node.upper():
        raise UserError(f"{certificate} is for {displayed(common_name(found))!r}, not for {node}")
    roots = {path: _authority(path) for path in authority or ()}
    trusted = [*roots.values(), *_trusted(workspace)]
    if not trusted:
        raise UserError("name the certificate of your organisation's CA, which came with this one: --authority FILE")
    try:
        verify_chain(found, (), trusted, time.time_ns() // 1_000_000)
    except CertificateError as error:
        raise UserError(f"{certificate}: {error}; --authority names the CA that issued it") from error
    for root in roots.values():
        workspace.trust(root)
    workspace.install(node, found)
    print(
        f"{node}: valid until {_day(found)}.\n"
        f"Use it with --capath {workspace.capath} --cert {workspace.certificate(node)} --key {workspace.key(node)}"
    )


@command("swarm cert show")
def show(files: Annotated[list[Path], typer.Argument(help="Certificates, or requests for some (PEM).")]) -> None:
    """Show what certificates and requests contain."""
    for path in files:
        data = read_file(path)
        if b"REQUEST-----" in data[:MAX_REQUEST]:
            wanted = read_request(data)
            _print_block(
                path,
                ("request for", wanted.common_name),
                ("host names", ", ".join(wanted.dns)),
                ("addresses", ", ".join(wanted.ips)),
                ("key", fingerprint(wanted.key)),
            )
            continue
        for found in _bundle(path, data):
            names, ips = names_of(found)
            _print_block(
                path,
                ("subject", found.subject.rfc4514_string()),
                ("role", _role(found)),
                ("issuer", found.issuer.rfc4514_string()),
                ("valid", f"{found.not_valid_before_utc:%Y-%m-%d} to {_day(found)}"),
                ("host names", ", ".join(names)),
                ("addresses", ", ".join(ips)),
                ("serial number", f"{found.serial_number:x}"),
                ("key", fingerprint(found.public_key())),
                ("thumbprint", thumbprint(found)),
            )


@command("swarm cert expiry")
def expiry(
    places: Annotated[list[Path], typer.Argument(help="Files of certificates, or folders with such files.")],
    *,
    within: Annotated[
        int | None,
        typer.Option("--within", help="Only those that expire in so many days; exit with 1 if any do.", min=0),
    ] = None,
) -> None:
    """List certificates by the day on which they expire, the next one first."""
    found = sorted(
        {(each.not_valid_after_utc, str(path), each) for path in _files(places) for each in read_certificates(path)},
        key=lambda each: each[:2],
    )
    last = datetime.now(UTC) + timedelta(days=within) if within is not None else None
    due = [each for each in found if last is None or each[0] <= last]
    rows = ((_day(each), displayed(each.subject.rfc4514_string()), path) for _, path, each in due)
    print_table(("valid until", "subject", "file"), rows)
    if due and last is not None:
        raise typer.Exit(1)


def _files(places: list[Path]) -> Iterator[Path]:
    """The files that hold certificates; in folders, other files are left out."""
    for place in places:
        if not place.is_dir():
            yield place
            continue
        for path in sorted(place.rglob("*")):
            if path.suffix in (".pem", ".crt") and path.is_file() and b"-----BEGIN CERTIFICATE-----" in read_file(path):
                yield path


def _print_block(path: Path, *lines: tuple[str, str]) -> None:
    print(path)
    for label, value in lines:
        if value:
            print(f"  {label:<14}{displayed(value)}")


def _role(certificate: x509.Certificate) -> str:
    if is_authority(certificate):
        return "certificate authority"
    try:
        return role_of(certificate)
    except CertificateError:
        return "none"


def _day(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d}"


def _trusted(workspace: Workspace) -> list[x509.Certificate]:
    if not workspace.capath.is_dir():
        return []
    return [each for path in _files([workspace.capath]) for each in read_certificates(path)]


def _authority(path: Path) -> x509.Certificate:
    found = _certificate(path)
    if not is_authority(found):
        raise UserError(f"{path} is no certificate of a CA (CA:TRUE)")
    return found


def _certificate(path: Path) -> x509.Certificate:
    try:
        return load_certificate(read_file(path))
    except CertificateError as error:
        raise UserError(f"{path}: {error}") from error


def _bundle(path: Path, data: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return load_bundle(data)
    except CertificateError as error:
        raise UserError(f"{path}: {error}") from error
