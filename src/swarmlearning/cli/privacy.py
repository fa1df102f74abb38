"""`swarm privacy`: what a site with a privacy lock gave away, shown and proved from the ledger."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from swarmlearning.cli.chainfiles import chain_file
from swarmlearning.cli.command import command
from swarmlearning.cli.console import print_json, print_table
from swarmlearning.cli.options import Credentials, NetworkId, sn_address
from swarmlearning.cli.report import write_whole
from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Step
from swarmlearning.ledger.history import steps
from swarmlearning.operator.reading import read_steps
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.views.names import displayed
from swarmlearning.views.releases import Proof, Release, noises, releases
from swarmlearning.views.render import clock

app = typer.Typer(help="What a site with a privacy lock gave away, by the ledger.", no_args_is_help=True)

LARGEST_PROOF: Final = 1024 * 1024
ROUNDING: Final = 1e-9

Contract = Annotated[str, typer.Option("--contract", help="Of this training contract alone.")]
Run = Annotated[int | None, typer.Option("--run", help="Of this run alone, from 1.", min=1)]
Site = Annotated[str, typer.Option("--site", help="Of this site alone: its name or UID.")]


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ledger that a command verifies: on this disk, or that of an SN."""

    data_dir: Annotated[Path | None, typer.Option(help="An SN's data directory, a run folder or a chain file.")] = None
    sn_ip: Annotated[str, typer.Option(help="Address of an SN, to read its ledger over the network.")] = ""
    sn_api_port: Annotated[int, typer.Option(help="API port of that SN.")] = 30304
    network_id: NetworkId = ""
    credentials: Credentials

    def read(self) -> "Read":
        """Verifies every block. Raises `UserError`."""
        if (self.data_dir is None) == (not self.sn_ip):
            raise UserError("name the ledger by one of --data-dir (on this disk) and --sn-ip (over the network)")
        found = Read()
        if self.data_dir is not None:
            for step in steps(read_chain_file(chain_file(self.data_dir))):
                found.add(step)
        else:
            address = sn_address(self.sn_ip, self.sn_api_port)
            asyncio.run(read_steps(address, self.credentials.identity(), self.network_id, found.add))
        if self.network_id and found.network != self.network_id:
            raise UserError(f"this is the ledger of network {found.network or '(none)'}, not of {self.network_id}")
        return found


class Read:
    """What a command needs of a verified ledger."""

    def __init__(self) -> None:
        self.network = ""
        self.releases: list[Release] = []

    def add(self, step: Step) -> None:
        """Takes the next block."""
        self.network = step.chain.network_id
        self.releases += releases(step)


@app.command("show")
@command("swarm privacy show")
def show(
    *,
    contract: Contract = "",
    run: Run = None,
    site: Site = "",
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    ledger: Ledger,
) -> None:
    """Show for each round what sites with a privacy lock state: the bound, the noise, and the ε composed so far."""
    found = _chosen(ledger.read().releases, contract, run, site)
    if json:
        print_json(found, indent=2)
        return
    rows = [
        (
            displayed(each.contract),
            str(each.run),
            str(each.round),
            each.site,
            f"{each.privacy.norm:g}",
            f"{each.privacy.noise:g}",
            f"{each.privacy.delta:g}",
            f"{each.privacy.epsilon:.6g}",
            str(each.privacy.releases),
            each.digest[:12] or f"nothing ({each.privacy.withheld})",
            str(each.height),
        )
        for each in found
    ]
    print_table(("contract", "run", "round", "site", "norm", "noise", "δ", "ε", "releases", "given", "block"), rows)


@app.command("prove")
@command("swarm privacy prove")
def prove(
    file: Annotated[Path, typer.Argument(help="The proof, as: proof.json", dir_okay=False)],
    *,
    number: Annotated[int, typer.Option("--round", help="The round.", min=0)],
    contract: Contract = "",
    run: Run = None,
    site: Site = "",
    ledger: Ledger,
) -> None:
    """Write a proof of what a site stated when it gave its model to a round: anybody with the ledger can verify it."""
    read = ledger.read()
    found = [each for each in _chosen(read.releases, contract, run, site) if each.round == number]
    if len(found) != 1:
        listed = "; ".join(f"--contract {displayed(one.contract)} --run {one.run} --site {one.site}" for one in found)
        raise UserError(
            f"{len(found) or 'no'} statements of a privacy lock for round {number}; "
            + (f"choose one: {listed}" if found else "see swarm privacy show")
        )
    proof = Proof(read.network, found[0].height, found[0].transaction)
    write_whole(file, msgspec.json.format(msgspec.json.encode(proof), indent=2) + b"\n")
    print(f"{file}: {_told(found[0])}")


@app.command("verify")
@command("swarm privacy verify")
def verify(
    file: Annotated[Path, typer.Argument(help="What `swarm privacy prove` has written.", dir_okay=False)],
    *,
    model: Annotated[Path | None, typer.Option("--model", help="The model that the site says it gave.")] = None,
    ledger: Ledger,
) -> None:
    """Verify a proof with your own copy of the ledger, or that of an SN you trust no further: every block is verified.

    Exit status 1 where the ledger does not have it, the model is another one, or the site has stated a smaller ε
    than what it gave by this ledger composes to.
    """
    proof, read = _read_proof(file), ledger.read()
    if proof.network != read.network:
        raise UserError(f"{file} is of network {proof.network}, and this ledger of network {read.network or '(none)'}")
    places = {(each.height, each.transaction): each for each in read.releases}
    found = places.get((proof.height, proof.transaction))
    if found is None:
        raise UserError(f"{file}: block {proof.height} of this ledger has no such statement")
    if model is not None:
        _check_model(model, found)
    composed = _composed(read.releases, found)  # nothing is called verified before all of it is
    print(f"verified: {_told(found)}")
    if model is not None:
        print(f"{model} is the model that it gave")
    print(composed)


def _chosen(found: list[Release], contract: str, run: int | None, site: str) -> list[Release]:
    return [
        each
        for each in found
        if contract in ("", each.contract) and run in (None, each.run) and site in ("", each.site, each.uid)
    ]


def _told(found: Release) -> str:
    privacy = found.privacy
    given = f"model {found.digest}" if found.digest else f"no model ({privacy.withheld})"
    lines = [
        f"{found.site} ({displayed(found.subject)} of {found.organisation}) gave {given}",
        f"  to round {found.round} of contract {displayed(found.contract)}, run {found.run}: signed in block "
        f"{found.height}, {clock(found.time_ms)}",
        f"  norm {privacy.norm:g}, noise {privacy.noise:g}, contributors {privacy.contributors}; by the site's own "
        f"record {_models(privacy.releases)} with noise so far: ε = {privacy.epsilon:.6g} at δ = {privacy.delta:g}",
        f"  protects {privacy.protects}; outside are {privacy.outside}",
    ]
    return "\n".join(lines)


def _read_proof(file: Path) -> Proof:
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST_PROOF + 1)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        if len(data) > LARGEST_PROOF:
            raise msgspec.DecodeError(f"more than {LARGEST_PROOF} bytes")
        return msgspec.json.decode(data, type=Proof)
    except msgspec.DecodeError as error:
        raise UserError(f"{file}: no proof of `swarm privacy prove`: {error}") from error


def _models(number: int) -> str:
    return f"{number} model{'s' * (number != 1)}"


def _check_model(model: Path, found: Release) -> None:
    from swarmlearning.tensors.digest import DigestError, digest_file, is_named  # numpy is loaded where it is needed

    if not found.digest:
        raise UserError(
            f"{found.site} gave no model to round {found.round} ({found.privacy.withheld}): prove another one"
        )
    try:
        named = is_named(model, found.digest)
        digest = found.digest if named else digest_file(model).root
    except (OSError, DigestError) as error:
        raise UserError(f"{model}: no model file: {error}") from error
    if not named:
        raise UserError(
            f"{model} is model {digest}, which is not what {found.site} gave to round {found.round}: {found.digest}"
        )


def _composed(all_of: list[Release], found: Release) -> str:
    """What the stated ε is worth. Raises `UserError` where it is smaller than what the ledger shows."""
    multipliers, privacy = noises(all_of, found), found.privacy
    if not privacy.noise:
        return "without noise, so without a bound on ε"
    from swarmlearning.privacy.accounting import composed_epsilon

    least = composed_epsilon(multipliers, privacy.delta)
    if privacy.epsilon < least * (1 - ROUNDING):
        raise UserError(
            f"{found.site} states ε = {privacy.epsilon:.6g}, but {_models(len(multipliers))} of it on this ledger "
            f"compose to {least:.6g}"
        )
    return f"this ledger has {_models(len(multipliers))} with noise of it: ε = {least:.6g}, not more than it states"
