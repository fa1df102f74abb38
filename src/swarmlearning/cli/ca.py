"""`swarm ca`: the office of an organisation, which has its CA and signs for the keys of its nodes."""

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509

from swarmlearning.cli.acting import perform, verified
from swarmlearning.cli.certnames import authority_name, node_name
from swarmlearning.cli.command import command
from swarmlearning.cli.connection import Connection
from swarmlearning.cli.console import print_json, print_table
from swarmlearning.errors import UserError
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import common_name, load_certificate, thumbprint, to_pem
from swarmlearning.identity.identity import read_file, read_passphrase
from swarmlearning.identity.office import Office, issued, make_office
from swarmlearning.identity.requests import Request, fingerprint, read_request
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.world import World
from swarmlearning.operator.acts import Act, revoke_certificates
from swarmlearning.operator.invitations import certify, own_organisation, waiting_requests
from swarmlearning.views.names import displayed

AUTHORITY_DAYS = 3650

app = typer.Typer(help="The CA of your organisation: sign, renew, revoke and list certificates.", no_args_is_help=True)

Out = Annotated[Path, typer.Option("--out", help="Folder of the CA.", file_okay=False)]
Node = Annotated[str, typer.Argument(help="The node, such as SL-1.", parser=node_name, metavar="NODE")]
CaName = Annotated[
    str | None,
    typer.Option("--ca-name", help="Which CA, where the folder has several.", parser=authority_name, metavar="NAME"),
]
Passphrase = Annotated[
    Path | None, typer.Option("--ca-passphrase-file", help="File whose first line encrypts the CA's private key.")
]
Days = Annotated[int, typer.Option("--days", help="Days that the certificate is valid.", min=1, max=AUTHORITY_DAYS)]
To = Annotated[Path | None, typer.Option("--to", help="File for the certificate; by default in the folder of the CA.")]


@app.command("create")
@command("swarm ca create")
def create(
    name: Annotated[
        str, typer.Argument(help="Its name, unlike that of the others, such as north.", parser=authority_name)
    ],
    *,
    out: Out,
    days: Annotated[
        int, typer.Option("--days", help="Days that the CA is valid.", min=1, max=AUTHORITY_DAYS)
    ] = AUTHORITY_DAYS,
    ca_passphrase_file: Passphrase = None,
) -> None:
    """Make the CA of your organisation. Its private key stays in this folder: no node needs it."""
    workspace = Workspace(out)
    make_office(workspace, name, create_authority(name, days), _passphrase(ca_passphrase_file))
    print(f"{workspace.authority_certificate(name)}: the CA of your organisation, for its nodes and for the others")


@app.command("sign")
@command("swarm ca sign")
def sign(
    request: Annotated[
        Path | None,
        typer.Argument(
            help="What `swarm cert request` has made at the node's host; by default all that wait on the ledger.",
            metavar="REQUEST",
        ),
    ] = None,
    *,
    out: Out,
    ca_name: CaName = None,
    days: Days = 365,
    to: To = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    ca_passphrase_file: Passphrase = None,
    connection: Connection,
) -> None:
    """Issue the certificate that a node's host requests, after you have compared what it is for.

    Without a file: for each node that was invited (swarm invite) and has made its request, which gets its certificate
    by way of the ledger.
    """
    workspace = Workspace(out)
    office = _office(workspace, ca_name, ca_passphrase_file)
    if request is None:
        if to is not None:
            raise UserError("--to is for the certificate of a REQUEST file; without one they go by the ledger")
        _sign_waiting(office, connection, days, confirmed=yes)
        return
    wanted = read_request(read_file(request))
    node = _checked_name(wanted.common_name)
    print(_shown(wanted))
    if not yes:
        typer.confirm("Issue this certificate?", abort=True)
    _hand_over(workspace, node, office.sign(wanted._replace(common_name=node), days), to)


@app.command("renew")
@command("swarm ca renew")
def renew(
    node: Node,
    *,
    out: Out,
    ca_name: CaName = None,
    days: Days = 365,
    to: To = None,
    ca_passphrase_file: Passphrase = None,
) -> None:
    """Issue a certificate anew for a node: the same key and names, another expiry."""
    workspace = Workspace(out)
    _hand_over(workspace, node, _office(workspace, ca_name, ca_passphrase_file).renew(node, days), to)


@app.command("revoke")
@command("swarm ca revoke")
def revoke(
    node: Node,
    *,
    out: Out,
    ca_name: CaName = None,
    ca_passphrase_file: Passphrase = None,
    offline: Annotated[bool, typer.Option("--offline", help="Only the list; the network goes on with it.")] = False,
    connection: Connection,
) -> None:
    """Revoke all certificates of a node: in the CA's revocation list, and on the ledger, which shuts it out at once.

    The ledger refuses from then on those too that nobody has used yet.
    """
    workspace, name = Workspace(out), _name(Workspace(out), ca_name)
    found = _office(workspace, name, ca_passphrase_file).revoke(node)
    print(f"{workspace.revocations(name)} lists {len(found)} certificates of {node}")
    if offline:
        print(f"The network trusts them until an operator tells it: swarm ca revoke {node} --out {out}")
        return
    authority = load_certificate(read_file(workspace.authority_certificate(name)))
    now_ms = time.time_ns() // 1_000_000
    perform(connection, lambda world: revoke_certificates(world, found, authority, node, now_ms))


@app.command("list")
@command("swarm ca list")
def list_issued(*, out: Out, json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show what the CA has issued: valid, expired and revoked."""
    found = issued(Workspace(out), time.time_ns() // 1_000_000)
    if json:
        print_json(
            [
                {
                    "node": common_name(each.certificate),
                    "authority": each.authority,
                    "serial": f"{each.certificate.serial_number:x}",
                    "thumbprint": thumbprint(each.certificate),
                    "expires": each.certificate.not_valid_after_utc.isoformat(),
                    "state": each.state,
                }
                for each in found
            ],
            indent=2,
        )
        return
    rows = (
        (
            displayed(common_name(each.certificate)),
            each.authority.lower(),
            f"{each.certificate.not_valid_after_utc:%Y-%m-%d}",
            each.state,
            thumbprint(each.certificate)[:16],
        )
        for each in found
    )
    print_table(("node", "CA", "valid until", "state", "thumbprint"), rows)


def _sign_waiting(office: Office, connection: Connection, days: int, *, confirmed: bool) -> None:
    """Issues certificates for the requests on the ledger that wait for this office, each one after a question."""
    chain = verified(connection)
    own = own_organisation(chain, connection.credentials.identity().bundle)
    waiting = waiting_requests(chain.world, own)
    if not waiting:
        print(f"No request waits for the office of {own} (swarm invite list).")
    for each in waiting:
        wanted = read_request(each.request.encode())
        print(_shown(wanted))
        if not confirmed and not typer.confirm("Issue this certificate?"):
            print(f"{each.name} goes on waiting.")
            continue
        act = certify(each.key, each.name, to_pem(office.sign(wanted, days)))
        perform(connection, partial(_same, act))


def _same(act: Act, world: World) -> Act:
    return act


def _office(workspace: Workspace, name: str | None, passphrase: Path | None) -> Office:
    return Office(workspace, _name(workspace, name), _passphrase(passphrase))


def _name(workspace: Workspace, given: str | None) -> str:
    """The CA to use. Raises `UserError` where that is open."""
    known = workspace.authorities()
    if given and given.upper() in known:
        return given
    if given or not known:
        raise UserError(
            f"{workspace.root} has no private key of a CA{f' {given}' if given else ''}; make one: swarm ca create"
        )
    if len(known) > 1:
        raise UserError(f"{workspace.root} holds several CAs; choose one: --ca-name {'|'.join(known)}")
    return known[0]


def _passphrase(path: Path | None) -> bytes | None:
    return read_passphrase(path) if path else None


def _checked_name(common_name: str) -> str:
    """Raises `UserError` for a request that is for no role."""
    try:
        return node_name(common_name)
    except typer.BadParameter as error:
        raise UserError(f"the request is for {error}") from error


def _shown(wanted: Request) -> str:
    lines = [
        f"For {wanted.common_name}",
        f"  host names: {', '.join(map(displayed, wanted.dns)) or 'its own alone'}",
        f"  addresses: {', '.join(wanted.ips) or 'none'}",
        f"  fingerprint of its key: {fingerprint(wanted.key)}",
    ]
    return "\n".join(lines)


def _hand_over(workspace: Workspace, node: str, certificate: x509.Certificate, to: Path | None) -> None:
    path = to or workspace.certificate(node)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_pem(certificate), encoding="ascii")
    print(
        f"{path}: valid until {certificate.not_valid_after_utc:%Y-%m-%d}, for the node's host: "
        f"swarm cert install {node} {path.name}"
    )
