"""`swarm organisation`, `trust`, `policy` and `proposal`: who takes part, and who has to agree."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from swarmlearning.cli.acting import perform, verified
from swarmlearning.cli.command import command
from swarmlearning.cli.connection import Connection
from swarmlearning.cli.console import print_json, print_table
from swarmlearning.cli.quotas import QuotaOptions
from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import ROLES, CertificateError, load_bundle, subject_of
from swarmlearning.identity.identity import Bundle
from swarmlearning.ledger.bodies import NodeType
from swarmlearning.ledger.contracts.network import Authority, Organisation
from swarmlearning.ledger.contracts.network.policies import TABLE, quorum_of, quorum_to_change
from swarmlearning.node.recoveryfile import RecoveryFile
from swarmlearning.operator import organisations as acts
from swarmlearning.views.names import displayed
from swarmlearning.views.proposals import ProposalView, proposals
from swarmlearning.views.render import answered, clock

organisation_app = typer.Typer(help="The organisations of the network.", no_args_is_help=True)
trust_app = typer.Typer(help="The certificate authorities that the network trusts.", no_args_is_help=True)
policy_app = typer.Typer(help="Whose signatures each act needs.", no_args_is_help=True)
proposal_app = typer.Typer(help="Acts that wait for more signatures.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Id = Annotated[str, typer.Argument(help="The organisation's ID, such as hospital-a.")]
Number = Annotated[int, typer.Argument(help="The proposal's number.", min=1)]
Certificate = Annotated[Path, typer.Argument(help="An authority's certificate (PEM).")]


# --- organisations --------------------------------------------------------------------------------------------------


@organisation_app.command("list")
@command("swarm organisation list")
def list_organisations(*, json: Json = False, connection: Connection) -> None:
    """Show the organisations, those that take no part any more too."""
    found = list(verified(connection).world.area("organisation/", Organisation))
    if json:
        listed = [msgspec.to_builtins(each) | {"quotas": msgspec.structs.asdict(each.quotas)} for each in found]
        print_json(listed, indent=2)
        return
    rows = ((each.id, displayed(each.name), "takes part" if each.active else "retired") for each in found)
    print_table(("id", "name", "state"), rows)


@organisation_app.command("admit")
@command("swarm organisation admit")
def admit_organisation(
    organisation: Id,
    certificates: Annotated[
        list[Path] | None,
        typer.Argument(help="Certificates of its authorities (PEM); for a --trust-domain by default your agent's."),
    ] = None,
    *,
    trust_domain: Annotated[
        str,
        typer.Option("--trust-domain", help="It is this SPIFFE trust domain; its nodes add later roots."),
    ] = "",
    name: Annotated[str, typer.Option("--name", help="Its name for people; by default its authority's.")] = "",
    quotas: QuotaOptions,
    connection: Connection,
) -> None:
    """Admit an organisation: nodes with certificates of its authorities may join."""
    pems = [_read(each) for each in certificates or ()]
    if trust_domain:
        bundle = _bundle(trust_domain, pems, connection)
        perform(
            connection,
            lambda _: acts.admit_domain(bundle, named=organisation, title=name, quotas=quotas.given),
        )
        return
    if not pems:
        raise UserError("name the certificates of its authorities, or its --trust-domain")
    perform(connection, lambda world: acts.admit(world, pems, named=organisation, title=name, quotas=quotas.given))


@organisation_app.command("quotas")
@command("swarm organisation quotas")
def set_quotas(organisation: Id, *, quotas: QuotaOptions, connection: Connection) -> None:
    """Change what an organisation may use at most; quotas that are not given stay."""
    perform(connection, lambda world: acts.set_quotas(world, organisation, quotas.given))


@organisation_app.command("retire")
@command("swarm organisation retire")
def retire_organisation(organisation: Id, connection: Connection) -> None:
    """End an organisation's part in the network, and that of all its nodes; what it did stays on the record."""
    perform(connection, lambda world: acts.retire(world, organisation))


# --- authorities ----------------------------------------------------------------------------------------------------


@trust_app.command("list")
@command("swarm trust list")
def list_authorities(*, json: Json = False, connection: Connection) -> None:
    """Show the certificate authorities, trusted and retired, and whose they are."""
    found = [
        {
            "thumbprint": root.thumbprint,
            "subject": subject_of(load_bundle(root.pem)[0]),
            "organisation": root.organisation,
            "roles": root.roles,
            "trusted": root.active,
        }
        for root in verified(connection).world.area("authority/", Authority)
    ]
    if json:
        print_json(found, indent=2)
        return
    rows = (
        (
            str(each["thumbprint"])[:16],
            displayed(str(each["subject"])),
            str(each["organisation"]),
            "trusted" if each["trusted"] else "retired",
        )
        for each in found
    )
    print_table(("thumbprint", "authority", "organisation", "state"), rows)


@trust_app.command("add")
@command("swarm trust add")
def add_authority(
    certificate: Certificate,
    *,
    organisation: Annotated[
        str, typer.Option("--organisation", help="Whose it is; by default a new organisation's, called by its subject.")
    ] = "",
    role: Annotated[
        list[str] | None,
        typer.Option("--role", help="A role that it may issue for; by default the present ones. Repeatable."),
    ] = None,
    trust_domain: Annotated[str, typer.Option("--trust-domain", help="For SPIFFE IDs of this domain only.")] = "",
    connection: Connection,
) -> None:
    """Trust one more certificate authority: nodes with its certificates may join."""
    pem = _read(certificate)
    if not organisation:
        if role or trust_domain:
            raise UserError("--role and --trust-domain need --organisation, whose authority it is")
        perform(connection, lambda world: acts.admit(world, [pem]))
        return
    roles = [_role(each) for each in role or ()]
    perform(
        connection,
        lambda world: acts.add_authority(world, organisation, pem, roles=roles, trust_domain=trust_domain),
    )


@trust_app.command("retire")
@command("swarm trust retire")
def retire_authority(
    thumbprint: Annotated[str, typer.Argument(help="The beginning of the authority's thumbprint.")],
    connection: Connection,
) -> None:
    """Stop trusting a certificate authority; what its nodes have signed before stays valid."""
    perform(connection, lambda world: acts.retire_authority(world, thumbprint))


# --- policies and proposals -----------------------------------------------------------------------------------------


@policy_app.command("list")
@command("swarm policy list")
def list_policies(*, json: Json = False, connection: Connection) -> None:
    """Show the quorum of each act: one organisation, the one concerned (own), a majority, or all."""
    world = verified(connection).world
    found = {act: quorum_of(world, act) for act in TABLE}
    if json:
        print_json(found, indent=2)
        return
    rows = (
        (act, needs, TABLE[act].alone, TABLE[act].quorum, quorum_to_change(world, act)) for act, needs in found.items()
    )
    print_table(("act", "needs", "alone", "by default", "to change it"), rows)


@policy_app.command("set")
@command("swarm policy set")
def set_policy(
    act: Annotated[str, typer.Argument(help="The act, as `swarm policy list` shows it.")],
    quorum: Annotated[str, typer.Argument(help="one, own, majority or all.")],
    connection: Connection,
) -> None:
    """Give an act another quorum; the change itself needs the one in force, and a majority at least."""
    if act not in TABLE:
        raise UserError(f"there is no act {act!r}; there are {', '.join(TABLE)}")
    needed = next((choice for choice in TABLE[act].choices if choice == quorum), None)
    if needed is None:
        raise UserError(f"{act} cannot need {quorum!r}; it can need {', '.join(TABLE[act].choices)}")
    perform(connection, lambda world: acts.set_policy(act, needed))


@policy_app.command("switch-rules")
@command("swarm policy switch-rules")
def switch_rules(connection: Connection) -> None:
    """Let the ledger go on under the next version of its rules, once the nodes know them: all are upgraded first."""
    perform(connection, acts.switch_rules)


@proposal_app.command("list")
@command("swarm proposal list")
def list_proposals(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also those that are done, rejected or expired.")] = False,
    json: Json = False,
    connection: Connection,
) -> None:
    """Show the open proposals: what they would do, and who has still to sign."""
    found = [each for each in _proposals(connection) if every or each.state == "open"]
    if json:
        print_json(msgspec.to_builtins(found), indent=2)
        return
    rows = (
        (
            *(str(each.number), each.act, each.what, each.state),
            *(answered(each, named) for named in (each.signed, each.rejected, each.missing)),
        )
        for each in found
    )
    print_table(("number", "act", "what", "state", "signed", "rejected", "not yet"), rows)


@proposal_app.command("show")
@command("swarm proposal show")
def show_proposal(number: Number, connection: Connection) -> None:
    """Show one proposal with all that it names, as JSON."""
    found = [each for each in _proposals(connection) if each.number == number]
    if not found:
        raise UserError(f"there is no proposal {number}; `swarm proposal list` shows them")
    print_json({**msgspec.to_builtins(found[0]), "expires": clock(found[0].expires_ms)}, indent=2)


@proposal_app.command("sign")
@command("swarm proposal sign")
def sign_proposal(
    *,
    number: Annotated[int, typer.Argument(help="The proposal's number.", min=0)] = 0,
    file: Annotated[
        Path | None, typer.Option("--file", help="Sign this file of `swarm sn recover` instead; needs no network.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation before a file is signed.")] = False,
    connection: Connection,
) -> None:
    """Agree to a proposal for your organisation; the last signature that is needed puts it into effect."""
    if file is not None:
        _sign_file(file, connection, confirmed=yes)
    elif number:
        perform(connection, lambda world: acts.sign(number))
    else:
        raise UserError(
            "name a proposal by its number (`swarm proposal list`), or a file of `swarm sn recover` (--file)"
        )


@proposal_app.command("reject")
@command("swarm proposal reject")
def reject_proposal(number: Number, connection: Connection) -> None:
    """Do not agree to a proposal; a signature that your organisation has given before is taken back."""
    perform(connection, lambda world: acts.reject(number))


# --- inside ---------------------------------------------------------------------------------------------------------


def _sign_file(path: Path, connection: Connection, *, confirmed: bool) -> None:
    identity = connection.credentials.identity(expired=True)  # a recovery may be needed because it has expired
    found = RecoveryFile.read(path)
    signed = found.signed_by(identity)
    print(found.summary())
    if not confirmed:
        typer.confirm("Sign this for your organisation?", abort=True)
    signed.write(path)
    print(f"{path} is signed by {identity.subject}; send it back")


def _proposals(connection: Connection) -> list[ProposalView]:
    chain = verified(connection)
    return proposals(chain.world, chain.time_ms)


def _bundle(trust_domain: str, pems: list[str], connection: Connection) -> Bundle:
    """The roots of a trust domain in these texts, or without any in what the operator's SPIFFE agent knows."""
    if pems:
        return Bundle(trust_domain, tuple(root for pem in pems for root in load_bundle(pem)))
    known = {bundle.trust_domain: bundle for bundle in connection.credentials.identity().bundles}
    if trust_domain not in known:
        raise UserError(
            f"your SPIFFE agent knows the trust domains {', '.join(sorted(known)) or '(there is no agent)'}, not "
            f"{trust_domain}: federate with it, or name a file with its roots (spire-server bundle show)"
        )
    return known[trust_domain]


def _read(certificate: Path) -> str:
    try:
        found = certificate.read_text(encoding="ascii")
        load_bundle(found)
    except OSError as error:
        raise UserError(f"{certificate}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{certificate}: no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from error
    except CertificateError as error:
        raise UserError(f"{certificate}: {error}") from error
    return found


def _role(text: str) -> NodeType:
    try:
        found: NodeType = msgspec.convert(text.upper(), NodeType)
    except msgspec.ValidationError:
        raise UserError(f"--role {text!r}: there are {', '.join(ROLES)}") from None
    return found
