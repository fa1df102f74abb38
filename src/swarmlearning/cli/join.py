"""`swarm join`: a node, or a new organisation, joins a network by the code of an invitation."""

import asyncio
import shlex
import sys
import time
from collections.abc import Awaitable, Callable
from operator import methodcaller
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography import x509

from swarmlearning.address import split
from swarmlearning.backoff import Backoff
from swarmlearning.cli.certnames import host_name, ip
from swarmlearning.cli.command import command
from swarmlearning.errors import UserError
from swarmlearning.identity.ca import names_of
from swarmlearning.identity.certificates import load_bundle, thumbprint
from swarmlearning.identity.identity import Bundle, read_anchors
from swarmlearning.identity.requests import fingerprint, read_request
from swarmlearning.identity.workspace import Workspace
from swarmlearning.invitations import host
from swarmlearning.invitations.client import JoinClient, UnreachableError, contact
from swarmlearning.invitations.code import LONGEST, JoinCode, read_code
from swarmlearning.invitations.serving import MOST_SECONDS
from swarmlearning.invitations.standing import Signatures, Standing, digest_of
from swarmlearning.ledger.bodies import Anchor, RequestAdmission, RequestCertificate
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.contracts.network.inviting import admission_of
from swarmlearning.node.organisations import of_bundle, organisation_of
from swarmlearning.views.names import displayed

STILL_WAITING: Final = 4
"""The exit status where the office has not signed yet."""
PAUSE_SECONDS: Final = 1.0
"""Between two questions: an SN that does not wait before it answers must not keep this host busy."""
STANDARD_INPUT: Final = "-"

Code = Annotated[
    list[str],
    typer.Argument(
        help="The code of the invitation, spaces and line breaks in it or not; - reads it from standard input.",
        metavar="CODE",
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder of this host's certificates.", file_okay=False)]
HostIps = Annotated[
    list[str] | None, typer.Option("--host-ip", help="IP address of the node; repeatable.", parser=ip, metavar="IP")
]
DnsNames = Annotated[
    list[str] | None,
    typer.Option("--dns", help="Host name of the node; repeatable.", parser=host_name, metavar="HOST"),
]
Wait = Annotated[
    int, typer.Option("--wait", help="Seconds to wait for the office; the same command goes on later.", min=0)
]
Cacert = Annotated[
    list[Path] | None,
    typer.Option("--cacert", help="For an organisation: its CA's certificate, by default that in --out; repeatable."),
]
TrustDomain = Annotated[
    str, typer.Option("--trust-domain", help="For an organisation: the SPIFFE trust domain of those CAs.")
]
Title = Annotated[str, typer.Option("--name", help="For an organisation: its name for people.")]


@command("swarm join")
def join(
    code: Code,
    *,
    out: Out = Path("cert"),
    host_ip: HostIps = None,
    dns: DnsNames = None,
    wait: Wait = 600,
    cacert: Cacert = None,
    trust_domain: TrustDomain = "",
    name: Title = "",
) -> None:
    """Join a network by a code: as a node of the organisation that has sent it, or as a new organisation.

    A node's key is made here and never leaves this host. Repeat the command to go on after a wait or an interruption.
    """
    found = read_code(sys.stdin.read(LONGEST + 1) if code == [STANDARD_INPUT] else "".join(code))
    workspace = Workspace(out)
    if found.name:
        if cacert or trust_domain or name:
            raise UserError("this code is for a node: --cacert, --trust-domain and --name are for an organisation")
        asyncio.run(_join_node(found, workspace, dns or [], host_ip or [], wait))
        return
    if dns or host_ip:
        raise UserError("this code is for an organisation: --dns and --host-ip are for a node")
    asyncio.run(_join_organisation(found, workspace, _anchors(workspace, cacert or [], trust_domain), name))


# --- a node ---------------------------------------------------------------------------------------------------------


async def _join_node(code: JoinCode, workspace: Workspace, dns: list[str], ips: list[str], wait: int) -> None:
    standing = await _answered(code, lambda client: _requested(client, code, workspace, dns, ips))
    if standing.state == "waiting":
        _tell_of_wait(code, workspace)
        standing = await _until_issued(code, standing, wait)
    if standing.state == "waiting":
        print(f"The office has not signed yet. Repeat this command to go on; the code is good until {_end(code)}.")
        raise typer.Exit(STILL_WAITING)
    if standing.state != "issued":
        raise UserError(_void(standing))
    certificate = host.install(workspace, code, standing)
    print(
        f"{workspace.certificate(code.name)}: the certificate of {code.name}, valid until "
        f"{certificate.not_valid_after_utc:%Y-%m-%d}\n"
        f"Next:\n  {_start(code, workspace, standing, _own_address(certificate))}"
    )


async def _requested(
    client: JoinClient, code: JoinCode, workspace: Workspace, dns: list[str], ips: list[str]
) -> Standing:
    """The invitation once it has this host's request. Raises `UserError` where it has another one."""
    standing = await client.standing()
    key_there = workspace.key(code.name).exists() and not workspace.request_key(code.name).exists()
    if standing.state == "issued" and key_there:
        return standing  # joined before; what is installed is checked again
    if standing.state not in ("open", "waiting", "issued"):
        return standing
    if standing.state == "open":
        request = host.own_request(workspace, code.name, dns, ips)
        standing = await client.request(RequestCertificate(client.key, request, ""))
    own = workspace.request(code.name)
    if not own.exists() or standing.request != digest_of(own.read_text(encoding="ascii")):
        advice = "to revoke that certificate (swarm ca revoke)" if standing.state == "issued" else "not to sign"
        raise UserError(
            f"this code has been used for a request that does not lie in {workspace.root.absolute()}. Repeat the "
            "command where you first gave it: that folder, or its --out. If you have not made that request, somebody "
            f"else has the code: tell your office at once {advice}"
        )
    _check_names(code, workspace, dns, ips)
    return standing


def _check_names(code: JoinCode, workspace: Workspace, dns: list[str], ips: list[str]) -> None:
    """Raises `UserError` for names and addresses that the request, which was made before, does not have."""
    asked = read_request(workspace.request(code.name).read_bytes())
    if missing := [each for each in (*ips, *dns) if each not in (*asked.ips, *asked.dns)]:
        raise UserError(
            f"{code.name} has made its request before, without {', '.join(missing)}, and a code permits only one: "
            "repeat the command without these options, or ask for another code"
        )


async def _until_issued(code: JoinCode, standing: Standing, seconds: int) -> Standing:
    """The invitation once the office has signed, or when the time is over."""
    end = time.monotonic() + seconds
    while standing.state == "waiting" and (left := int(end - time.monotonic())) > 0:
        patience = min(left, MOST_SECONDS)
        standing = await _answered(code, methodcaller("standing", patience), end)
        if standing.state == "waiting":
            await asyncio.sleep(PAUSE_SECONDS)
    return standing


def _tell_of_wait(code: JoinCode, workspace: Workspace) -> None:
    key = read_request(workspace.request(code.name).read_bytes()).key
    print(
        f"{code.name} has requested its certificate, with the key {workspace.request_key(code.name)}.\n"
        f"Fingerprint of that key, for your office to compare: {fingerprint(key)}\n"
        "Waiting for the office of your organisation to sign it (swarm ca sign). This command can be ended, and "
        "repeated later.",
        flush=True,
    )


def _own_address(certificate: x509.Certificate) -> str:
    """The address under which others may reach this host."""
    names, ips = names_of(certificate)
    return [*ips, *names, "IP-OF-THIS-HOST"][0]


def _start(code: JoinCode, workspace: Workspace, standing: Standing, own: str) -> str:
    """The command that starts the node, or uses the operator's certificate."""
    host_of_sn, port = split(standing.api)
    files = workspace.capath, workspace.certificate(code.name), workspace.key(code.name)
    capath, certificate, key = (shlex.quote(str(path)) for path in files)
    identity = f"--network-id {code.network_id} --capath {capath} --cert {certificate} --key {key}"
    role = code.name.partition("-")[0]
    if role == "SN":
        return f"swarm sn --sentinel-ip {host_of_sn} --sentinel-api-port {port} --host-ip {own} {identity}"
    through = f"--sn-ip {host_of_sn} --sn-api-port {port}"
    if role == "SL":
        return f"swarm sl --host-ip {own} {through} {identity} -- python train.py"
    if role == "SWOP":
        return f"swarm swop --usr-dir usr --profile-file-name swop_profile.yaml {identity}"
    return f"swarm status {through} {identity}"


# --- an organisation ------------------------------------------------------------------------------------------------


async def _join_organisation(code: JoinCode, workspace: Workspace, anchors: tuple[Anchor, ...], title: str) -> None:
    async def ask(client: JoinClient) -> Standing:
        standing = await client.standing()
        wanted = RequestAdmission(client.key, title or code.organisation, anchors, "")
        if standing.state == "open":
            standing = await client.request(wanted)
        own = digest_of(canonical(admission_of(code.organisation, wanted)).decode())
        if standing.request and standing.request != own:
            raise UserError(
                f"this code has been used for another request: with another --name than {wanted.name!r}, or with other "
                "CAs. If you have not made that, somebody else has the code: tell the members at once not to sign it"
            )
        return standing

    standing = await _answered(code, ask)
    if standing.proposal is None or standing.state not in ("proposed", "admitted"):
        raise UserError(_void(standing))
    host.trust(workspace, host.named_authorities(code, standing))
    if standing.state == "admitted":
        print(f"{code.organisation} takes part: its nodes join with certificates of its CA (swarm cert, or swarm ca).")
        if workspace.authorities():
            root = shlex.quote(str(workspace.root))
            print(f"Next:\n  swarm cert --out {root} --node SL-{code.organisation} --host-ip IP-OF-ITS-HOST")
    else:
        print(_authorities_text(code, anchors))
        print(_signatures_text(standing.proposal))
        print(f"To look how it stands: the same command, until {_end(code)}.")
    print(f"Network {code.network_id}, SN {displayed(standing.api)}; the SN's CA is in {workspace.capath} now.")


def _anchors(workspace: Workspace, files: list[Path], trust_domain: str) -> tuple[Anchor, ...]:
    """The authorities of a new organisation: those in files, by default those whose key lies in the workspace."""
    paths = files or [workspace.authority_certificate(each) for each in workspace.authorities()]
    if not paths:
        raise UserError(
            f"an organisation joins with its CA's certificate: name it (--cacert FILE), or make one "
            f"(swarm ca create NAME --out {workspace.root})"
        )
    found = [each for path in paths for each in read_anchors(path, None)]
    if trust_domain:
        return of_bundle(Bundle(trust_domain, tuple(found)))
    return organisation_of(found, ()).anchors


def _authorities_text(code: JoinCode, anchors: tuple[Anchor, ...]) -> str:
    lines = (f"  {thumbprint(load_bundle(each.certificate)[0])}" for each in anchors)
    return "\n".join((f"{code.organisation} asks to be admitted, with the CAs of these thumbprints:", *lines))


def _signatures_text(found: Signatures) -> str:
    needs = {"majority": "a majority of the organisations", "all": "all organisations"}.get(found.needs, found.needs)
    return (
        f"Proposal {found.number} needs {displayed(needs)}; signed by {_listed(found.signed)}, not yet by "
        f"{_listed(found.missing)}. Their operators compare the thumbprints with you, and sign with: swarm proposal "
        f"sign {found.number}"
    )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(displayed, names)) or "nobody"


# --- both -----------------------------------------------------------------------------------------------------------


async def _answered(code: JoinCode, ask: Callable[[JoinClient], Awaitable[Standing]], until: float = 0.0) -> Standing:
    """What an SN of the code answers; with `until` (monotonic) one that cannot be reached is tried again so long."""
    async for _ in Backoff(longest=15.0):
        try:
            async with contact(code) as client:
                return await ask(client)
        except UnreachableError as error:
            if time.monotonic() < until:
                continue
            if code.expires < time.time():
                raise UserError(f"{error}. This code has expired, on {_end(code)}: ask for another one") from error
            raise UserError(
                f"{error}. Either that SN does not run or a firewall is in between: then try again later; or its port "
                "for newcomers is closed, since nobody is invited now: the code may have been withdrawn, or used. It "
                f"is good until {_end(code)}"
            ) from error
    raise AssertionError("a back-off never ends")


def _void(standing: Standing) -> str:
    match standing.state:
        case "withdrawn":
            return "this invitation has been withdrawn by the organisation that had sent it; ask for another one"
        case "rejected":
            by = standing.proposal.rejected if standing.proposal is not None else ()
            return f"the organisations have rejected the admission: {_listed(by)}"
        case "lapsed":
            return "this invitation has expired; ask for another one"
    return f"the SN answers that this invitation is {standing.state!r}, which cannot be: ask who has sent the code"


def _end(code: JoinCode) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(code.expires))
