"""`swarm license`: the license server, and the documents that tell it what it may lend."""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.console import print_json
from swarmlearning.cli.options import Credentials, DataDir, NodeProcess, data_directory
from swarmlearning.cli.running import run_node
from swarmlearning.files import replace_file
from swarmlearning.license.documents import (
    LICENSEE_LENGTH,
    MOST_TOKENS,
    Document,
    Issuers,
    License,
    Revocations,
    Signed,
    capacity_text,
    key_id,
    read_private_key,
    read_public_key,
    sign,
    unverified,
)
from swarmlearning.license.features import Feature, LicenseError, read_feature
from swarmlearning.license.rights import Rights, date_text
from swarmlearning.license.servers import PORT
from swarmlearning.views.names import displayed

DAY_MS = 24 * 3600 * 1000
COMMUNITY = (Feature.SL, Feature.SN, Feature.SWCI, Feature.SWOP)
"""Of these a license has 5 tokens each where no feature is named, as the original's community product."""
COMMUNITY_TOKENS = 5

app = typer.Typer(help="Serve licenses to nodes, and make the documents that a license server needs.")

IssuerKey = Annotated[Path, typer.Option("--key", help="The issuer's private key (PEM), made by `swarm license key`.")]
IssuerFiles = Annotated[
    list[Path], typer.Option("--issuer", help="Public key (PEM) of an issuer to believe. Repeatable.")
]
RevokedFiles = Annotated[
    list[Path] | None, typer.Option("--revoked", help="List of revoked licenses, made by `swarm license revoke`.")
]


@app.command()
@command("swarm license serve")
def serve(
    *,
    license: Annotated[list[Path], typer.Option("--license", help="A license document. Repeatable: they add up.")],
    issuer: IssuerFiles,
    revoked: RevokedFiles = None,
    bind_ip: Annotated[str, typer.Option(help="Address to listen on; by default all.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = PORT,
    other: Annotated[str, typer.Option(help="The other one of two license servers: HOST[:PORT].")] = "",
    secondary: Annotated[
        bool, typer.Option("--secondary", help="Lend only while the other one, the primary, does not answer.")
    ] = False,
    lease_seconds: Annotated[float, typer.Option(help="How long a token lasts without renewal.", min=2, max=86400)] = (
        1800.0
    ),
    data_dir: DataDir = None,
    credentials: Credentials,
    process: NodeProcess,
) -> None:
    """Run a license server: lends tokens to nodes, up to the capacity of its licenses.

    Its certificate has a name that begins with LICENSE- (for trying out: swarm cert --node LICENSE-1). Changed
    documents are read anew by themselves.
    """
    from swarmlearning.address import with_port
    from swarmlearning.license.server import ServerSettings, run_server
    from swarmlearning.license.servers import server_certificate_fault
    from swarmlearning.license.shelf import Shelf
    from swarmlearning.node.expiry import warn_of_own, while_working
    from swarmlearning.node.logs import banner, start_logging
    from swarmlearning.node.ready import Ready

    if secondary and not other:
        raise LicenseError("--secondary needs --other, the address of the primary")
    source = credentials.source()
    identity = source.current
    if fault := server_certificate_fault(identity.certificate):
        raise LicenseError(f"{identity.cert_path}: {fault}; for trying out: swarm cert --node LICENSE-1")
    settings = ServerSettings(
        host=bind_ip,
        port=port,
        data_dir=data_directory(data_dir, "license"),
        other=with_port(other, PORT) if other else "",
        standby=secondary,
        lease_seconds=lease_seconds,
    )
    ready = Ready(process.ready_fd)
    print(banner("LICENSE"), flush=True)
    start_logging(process.log_level)
    work = run_server(settings, Shelf(license, revoked or (), issuer), source, ready.report)
    run_node(while_working(work, source.watch(), warn_of_own(source)), look=source.look)


@app.command()
@command("swarm license key")
def key(
    out: Annotated[Path, typer.Argument(help="File of the private key; the public one lies beside it, as .pub.")],
) -> None:
    """Make the key of an issuer of licenses: a private one, and a public one for its license servers."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    public = out.with_name(f"{out.name}.pub")
    for path in (out, public):
        if path.exists():
            raise LicenseError(f"{path}: exists; a key is never overwritten")
    made = Ed25519PrivateKey.generate()
    _write(out, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(public, made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    print(f"Made key {key_id(made.public_key())[:16]}: {out} signs licenses, {public} goes to license servers.")


@app.command()
@command("swarm license issue")
def issue(
    out: Annotated[Path, typer.Argument(help="File of the license.")],
    *,
    key: IssuerKey,
    licensee: Annotated[str, typer.Option(help="Whom the license is for.")],
    feature: Annotated[
        list[str] | None,
        typer.Option(
            help=f"FEATURE=TOKENS, such as SL=8 or 1100000378=8; repeatable. Features: "
            f"{', '.join(each.title for each in Feature)}. By default {COMMUNITY_TOKENS} each of "
            f"{', '.join(each.title for each in COMMUNITY)}.",
        ),
    ] = None,
    days: Annotated[int, typer.Option(help="Days that it is valid.", min=1, max=36500)] = 365,
    begins_in: Annotated[int, typer.Option(help="Days until it begins.", min=0, max=36500)] = 0,
) -> None:
    """Issue a license: a document that lets a license server lend so many tokens of each feature."""
    if not 0 < len(licensee) <= LICENSEE_LENGTH:
        raise LicenseError(f"--licensee: a name of 1 to {LICENSEE_LENGTH} characters")
    begin = _now_ms() + begins_in * DAY_MS
    features = dict(map(_tokens, feature)) if feature else dict.fromkeys(COMMUNITY, COMMUNITY_TOKENS)
    made = License(secrets.token_hex(16), licensee, features, begin, begin + days * DAY_MS)
    _write_document(out, made, key)
    print(
        f"License {made.id} for {displayed(licensee)}: {capacity_text(features)}, until {date_text(made.expires_ms)}."
    )


@app.command()
@command("swarm license revoke")
def revoke(
    out: Annotated[Path, typer.Argument(help="File of the list; one that is there is extended.")],
    license: Annotated[list[str], typer.Argument(help="The IDs of the licenses, or their files.")],
    *,
    key: IssuerKey,
) -> None:
    """Revoke licenses of this issuer: the list goes to its license servers, which read it by themselves."""
    from swarmlearning.license.shelf import read_file

    signer = read_private_key(read_file(key), str(key))
    known: tuple[str, ...] = ()
    if out.exists():
        issuers = Issuers([signer.public_key()])
        known = issuers.read(read_file(out), str(out), Revocations).document.licenses
    added = [_license_id(each) for each in license]
    made = Revocations(_now_ms(), tuple(dict.fromkeys((*known, *added))))
    _write(out, sign(made, signer))
    print(f"{out}: {len(made.licenses)} revoked licenses.")


@app.command()
@command("swarm license inspect")
def inspect(
    files: Annotated[list[Path], typer.Argument(help="License documents, or lists of revoked ones.")],
    *,
    issuer: Annotated[
        list[Path] | None, typer.Option("--issuer", help="Public key (PEM) of an issuer to believe. Repeatable.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what documents state, and with --issuer whether that issuer has signed them; status 1 if it has not."""
    from swarmlearning.license.shelf import read_file

    found = {path: unverified(read_file(path), str(path)) for path in files}
    if issuer:
        issuers = Issuers(read_public_key(read_file(path), str(path)) for path in issuer)
        for path, signed in found.items():
            issuers.read(read_file(path), str(path), type(signed.document))
    if json:
        print_json([{"file": str(path), "key": each.issuer, **_plain(each)} for path, each in found.items()], indent=2)
        return
    for path, signed in found.items():
        print(f"{path}: {'signature verified' if issuer else 'signature not verified (name its --issuer)'}")
        for name, text in _lines(signed):
            print(f"    {name:<12}{text}")


def _lines(signed: Signed[Document]) -> Sequence[tuple[str, str]]:
    document = signed.document
    if isinstance(document, Revocations):
        return (
            ("revoked", f"{len(document.licenses)} licenses: {', '.join(document.licenses)}"),
            ("issued", date_text(document.issued_ms)),
            ("key", signed.issuer),
        )
    fault = Rights([Signed(signed.issuer, document)]).fault(Signed(signed.issuer, document), _now_ms())
    return (
        ("license", document.id),
        ("licensee", displayed(document.licensee, LICENSEE_LENGTH)),
        ("tokens", capacity_text(document.features)),
        ("begins", date_text(document.not_before_ms)),
        ("ends", date_text(document.expires_ms)),
        ("state", fault or "in force"),
        ("key", signed.issuer),
    )


def _plain(signed: Signed[Document]) -> dict[str, object]:
    import msgspec

    found: dict[str, object] = msgspec.to_builtins(signed.document)
    return found


def _tokens(text: str) -> tuple[Feature, int]:
    name, equals, number = text.partition("=")
    if not equals or not number.isdecimal() or len(number) > 6 or not 0 < int(number) <= MOST_TOKENS:
        raise LicenseError(f"--feature {text[:60]!r}: expected FEATURE=TOKENS with 1 to {MOST_TOKENS}, such as SL=8")
    return read_feature(name), int(number)


def _license_id(text: str) -> str:
    """The ID that this is, or that of the license in this file. Raises `LicenseError`."""
    from swarmlearning.license.shelf import read_file

    if len(text) == 32 and set(text) <= set("0123456789abcdef"):
        return text
    document = unverified(read_file(Path(text)), text).document
    if not isinstance(document, License):
        raise LicenseError(f"{text}: this is no license")
    return document.id


def _write_document(path: Path, document: Document, key: Path) -> None:
    from swarmlearning.license.shelf import read_file

    if path.exists():
        raise LicenseError(f"{path}: exists; choose another name for the new license")
    _write(path, sign(document, read_private_key(read_file(key), str(key))))


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    try:
        replace_file(path, data, mode)
    except OSError as error:
        raise LicenseError(f"{path}: cannot be written: {error.strerror}") from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
