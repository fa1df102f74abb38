"""`swarm cert`: a CA and the certificates of an organisation's nodes at once, ready to use; and what a node's host does
where the CA is elsewhere (`certfiles`)."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarmlearning.cli import certfiles
from swarmlearning.cli.certnames import authority_name, host_name, ip, node_name
from swarmlearning.identity.ca import KeyPair, create_authority, cross_certificate, issue
from swarmlearning.identity.certificates import OPERATORS, CertificateError, common_name, to_pem
from swarmlearning.identity.workspace import Workspace

AUTHORITY_DAYS = 3650
DEFAULT_AUTHORITY = "CA-1"

app = typer.Typer(
    help="Make certificates for trying out: a development CA and a certificate for each node. Where keys should stay "
    "on their hosts, and the CA's in an office: swarm cert request and install here, swarm ca there."
)
certfiles.add_to(app)


Out = Annotated[
    Path | None,
    typer.Option(help="Folder for the certificates; made when missing.", file_okay=False, show_default="required"),
]
Nodes = Annotated[
    list[str] | None,
    typer.Option(
        help="A node such as SN-1 or SL-1; repeat for each node.",
        parser=node_name,
        metavar="NAME",
        show_default="required",
    ),
]
HostIps = Annotated[
    list[str] | None, typer.Option(help="IP address of these nodes; repeatable.", parser=ip, metavar="IP")
]
DnsNames = Annotated[
    list[str] | None, typer.Option(help="Host name of these nodes; repeatable.", parser=host_name, metavar="HOST")
]
CaName = Annotated[
    str | None,
    typer.Option(
        help="Name of your organisation's CA, unlike that of the others.",
        show_default=f"the one in the folder, else {DEFAULT_AUTHORITY}",
        parser=authority_name,
        metavar="NAME",
    ),
]
Succeeds = Annotated[
    str | None,
    typer.Option(help="CA in the folder, which signs for the new one.", parser=authority_name, metavar="NAME"),
]


@app.callback(invoke_without_command=True)
def cert(
    context: typer.Context,
    out: Out = None,
    node: Nodes = None,
    host_ip: HostIps = None,
    dns: DnsNames = None,
    days: Annotated[int, typer.Option(help="Days the certificates are valid.", min=1, max=AUTHORITY_DAYS)] = 365,
    ca_name: CaName = None,
    succeeds: Succeeds = None,
    force: Annotated[bool, typer.Option("--force", help="Replace certificates that exist.")] = False,
) -> None:
    """Make certificates for trying out: a development CA (once) and a certificate for each node."""
    if context.invoked_subcommand:
        if out or node:
            raise typer.BadParameter(f"the options of swarm cert go behind {context.invoked_subcommand}")
        return
    if out is None or not node:
        raise typer.BadParameter(f"Missing option '{'--node' if out else '--out'}'.")
    workspace = Workspace(out)
    try:
        _check_new(workspace, node, force)
        name = ca_name or _own_authority(workspace)
        if succeeds:
            _check_operators(workspace, node)
        authority, made = _authority(workspace, name)
        bundle = _successor(workspace, authority, succeeds) if succeeds else ""
        pairs = {each: issue(authority, each, dns or [], host_ip or [], days) for each in node}
        _save(workspace, name, authority if made else None, bundle, pairs)
    except (CertificateError, OSError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        Console(stderr=True).print(f"swarm cert: {text}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    console = Console(highlight=False)
    title = common_name(authority.certificate) or name
    console.print(f"Made certificates for {', '.join(node)}, with the {'new' if made else 'existing'} CA {title}.\n")
    console.print(_summary(workspace, name, title, authority, pairs))
    console.print(_what_next(workspace, name, node, (host_ip or ["IP-OF-THIS-HOST"])[0]), soft_wrap=True)


def _save(
    workspace: Workspace, name: str, authority: KeyPair | None, bundle: str, pairs: Mapping[str, KeyPair]
) -> None:
    """Writes what has been made: a new CA, its certificates as a successor, and those of nodes."""
    if authority:
        workspace.save_authority(name, authority)
    if bundle:
        workspace.save_successor(name, bundle)
    for each, pair in pairs.items():
        workspace.save_issued(pair.certificate)
        workspace.save_node(each, pair)


def _check_new(workspace: Workspace, nodes: list[str], force: bool) -> None:
    files = [workspace.certificate(node) for node in nodes]
    for node, file in zip(nodes, files, strict=True):
        if files.count(file) > 1:
            raise CertificateError(f"{node} is named twice (case does not count); each --node needs a name of its own")
    existing = [str(file) for file in files if file.exists()]
    if existing and not force:
        raise CertificateError(
            f"{', '.join(existing)} {'exists' if len(existing) == 1 else 'exist'} already: leave out what is there, "
            "or give --force to replace certificates and keys"
        )


def _check_operators(workspace: Workspace, nodes: list[str]) -> None:
    """Raises `CertificateError` where a certificate would go with which the new CA has still to be added."""
    for node in nodes:
        if node.partition("-")[0] in OPERATORS and workspace.certificate(node).exists():
            raise CertificateError(
                f"{workspace.certificate(node)} is needed as it is, to add the new CA (swarm trust add): leave "
                f"--node {node} out, and replace it once the new CA is added"
            )


def _own_authority(workspace: Workspace) -> str:
    found = workspace.authorities()
    if len(found) > 1:
        raise CertificateError(f"{workspace.root} holds several CAs; choose one: --ca-name {'|'.join(found)}")
    return found[0] if found else DEFAULT_AUTHORITY


def _authority(workspace: Workspace, name: str) -> tuple[KeyPair, bool]:
    """The CA of that name, and whether it is a new one that has still to be saved."""
    if workspace.authority_key(name).exists():
        return workspace.load_authority(name), False
    foreign = workspace.authority_certificate(name)
    if foreign.exists():
        raise CertificateError(
            f"{foreign} belongs to a CA whose private key is not here: another organisation has that name, "
            "choose one of your own with --ca-name"
        )
    return create_authority(name, AUTHORITY_DAYS), True


def _successor(workspace: Workspace, authority: KeyPair, succeeds: str) -> str:
    """The CA's certificate and its predecessor's for the same name and key, as PEM."""
    if succeeds.upper() not in workspace.authorities():
        known = ", ".join(workspace.authorities()) or "none"
        raise CertificateError(f"the private key of CA {succeeds} is not in {workspace.root}; CAs there: {known}")
    predecessor = workspace.load_authority(succeeds)
    if predecessor.certificate.subject == authority.certificate.subject:
        raise CertificateError(f"CA {succeeds} cannot succeed itself; name the new one with --ca-name")
    return to_pem(authority.certificate) + to_pem(cross_certificate(authority.certificate, by=predecessor))


def _to_be_trusted(workspace: Workspace, name: str) -> str:
    """The command with which a CA that succeeds another one is added; empty for one that does not."""
    if not workspace.successor(name).exists():
        return ""
    return (
        f"\nAn operator of your organisation adds the new CA, before nodes use its certificates:\n"
        f"  swarm trust add {shlex.quote(str(workspace.successor(name)))} --organisation YOUR-ORGANISATION\n"
    )


def _summary(workspace: Workspace, name: str, title: str, authority: KeyPair, pairs: dict[str, KeyPair]) -> Table:
    table = Table("", "valid until", "certificate and private key", box=None, pad_edge=False, header_style="dim")

    def row(label: str, pair: KeyPair, *files: Path) -> None:
        end = f"{pair.certificate.not_valid_after_utc:%Y-%m-%d}"
        table.add_row(label, end, Text("\n".join(map(str, files)), overflow="fold"))

    row(title, authority, workspace.authority_certificate(name), workspace.authority_key(name))
    for node, pair in pairs.items():
        row(node, pair, workspace.certificate(node), workspace.key(node))
    return table


def _what_next(workspace: Workspace, name: str, nodes: list[str], host_ip: str) -> Text:
    """The commands that start the first node of each kind, and what several organisations do before."""
    lines = []
    for node in _first_of_each(nodes, ("SN-", "SL-")):
        files = (workspace.capath, workspace.certificate(node), workspace.key(node))
        capath, certificate, key = (shlex.quote(str(path)) for path in files)
        options = f"--host-ip {host_ip} --capath {capath} --cert {certificate} --key {key}"
        if node.startswith("SN-"):
            lines += [
                "on one host of the whole network, the SN that founds it:",
                f"  swarm sn --sentinel {options}",
                "on every other host with an SN, which joins through one that runs (two founders are two networks):",
                f"  swarm sn --sentinel-ip IP-OF-A-RUNNING-SN {options}",
            ]
        else:
            lines += ["an SL, once an SN runs:", f"  swarm sl --sn-ip IP-OF-AN-SN {options} -- python train.py"]
    own = workspace.authority_certificate(name)
    return Text.assemble(
        _to_be_trusted(workspace, name),
        "\nNext:\n" if lines else "",
        *(f"{line}\n" for line in lines),
        (
            "\nSeveral organisations: each makes a CA of its own (--ca-name), and they exchange these CA certificates, "
            f"never keys:\n  send {own} to the others, put that of the SN that you contact first into "
            f"{workspace.capath}{os.sep}\nWho has founded a network admits the others to it: swarm organisation admit "
            f"ORGANISATION CA-FILE\nDevelopment CAs are for trying out: their keys lie unencrypted on disk. For "
            "real data use certificates of your organisation's CA.",
            "dim",
        ),
    )


def _first_of_each(nodes: list[str], prefixes: tuple[str, ...]) -> list[str]:
    return [node for prefix in prefixes for node in [node for node in nodes if node.startswith(prefix)][:1]]
