"""The first set-up, step by step: what each step shows. What the steps do is in `pages/settingup.py`."""

import shlex
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from cryptography import x509
from fastapi import FastAPI

from swarmlearning.address import join
from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import expires_ms, name_in, thumbprint
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ui.access import address_of
from swarmlearning.ui.hosts.facts import Facts
from swarmlearning.ui.hosts.founding import Placed, joining
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.own import matters
from swarmlearning.ui.pages.deployment import on_ledger
from swarmlearning.ui.pages.hosts import BundleView, Remark, bundle_view, remarks
from swarmlearning.ui.pages.jobs import JobPage, job_page
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.security.passwords import LEAST
from swarmlearning.ui.setup import identity
from swarmlearning.ui.setup.stage import Stage
from swarmlearning.ui.setup.state import THIS, Chosen, Existing, Setup, Step, founding, open_steps, reached, steps
from swarmlearning.ui.site import Here, Visit
from swarmlearning.ui.store.hosts import Host
from swarmlearning.views.names import displayed

PATH: Final = "/setup"
Progress: TypeAlias = Literal["done", "here", "open", "closed"]
NETWORK_ID: Final = "NETWORK-ID"
"""Stands in commands for what only the network knows, once it runs."""


class StepRow(msgspec.Struct, frozen=True):
    """A step of the way, and the path that opens it; empty where it cannot be opened yet."""

    name: Step
    progress: Progress
    path: str


class MachineView(msgspec.Struct, frozen=True):
    """This machine: None of it is known before somebody has looked. `fault`: why a look has failed."""

    facts: Facts | None
    findings: list[Remark]
    fault: str


class AuthorityView(msgspec.Struct, frozen=True):
    """The organisation's authority and the UI's own certificate, which are there. `may_discard`: nothing uses them."""

    name: str
    thumbprint: str
    expires_ms: int
    certificate: str
    certificate_expires_ms: int | None
    may_discard: bool


class HostRow(msgspec.Struct, frozen=True):
    """A host that can take part. `addresses`: those that it has itself; `confirmed`: its SSH key is, so that it can be
    used; `keeps_login`: nobody has to log in there."""

    host: Chosen
    taken: bool
    sites: int
    addresses: tuple[str, ...] = ()
    confirmed: bool = True
    keeps_login: bool = False


class NodeRow(msgspec.Struct, frozen=True):
    """A node that is to be, and the command that runs it. `state`: of one that is placed on its host, as that was seen
    last, at `seen_ms` (Unix milliseconds; None: this machine, now). `ledger`: its state in the network. Both are empty
    where that is not known."""

    name: str
    kind: str
    host: str
    address: str
    ports: str
    folder: str
    command: str
    state: str = ""
    seen_ms: int | None = None
    ledger: str = ""


class SetupView(msgspec.Struct, frozen=True):
    """A step; `back`: the path of the one before. `fault`: what keeps the plan from being carried out; `elsewhere`: the
    UI was started with a certificate, so it belongs to a network that was set up in another way."""

    step: Step
    steps: list[StepRow]
    back: str
    setup: Setup
    machine: MachineView
    authority: AuthorityView | None
    hosts: list[HostRow]
    bundle: BundleView
    keeps: bool
    nodes: list[NodeRow]
    commands: list[str]
    fault: str
    job: JobPage | None
    elsewhere: bool
    least: int
    folder: str
    restart: str
    plain: bool


def add_setup(app: FastAPI) -> None:
    """The pages."""

    @page(app, PATH, "setup.html")
    async def setup(visit: Here) -> SetupView:
        return await setup_view(visit, "")

    @page(app, f"{PATH}/{{step}}", "setup.html")
    async def one(visit: Here, step: str) -> SetupView:
        return await setup_view(visit, step)


async def setup_view(visit: Visit, wanted: str) -> SetupView:
    """The step that is wanted, if it can be opened; else the one that comes next."""
    stage = visit.site.stage
    decided = await stage.setup()
    there = stage.there(decided)
    openable = open_steps(decided, there)
    step = next((each for each in openable if each == wanted), reached(decided, there))
    own = _this(stage, decided)
    stage.look(own.prefix, lambda: visit.feed.news.publish("jobs"))
    await stage.first_look()
    nodes, fault = _planned(visit, decided)
    nodes = _seen(visit, nodes, await visit.site.hosts.all())
    job = visit.site.jobs.get(decided.job)
    return SetupView(
        step=step,
        steps=[StepRow(each, _progress(each, step, openable), _path(each, openable)) for each in steps(decided)],
        back=_path(steps(decided)[at - 1], openable) if (at := steps(decided).index(step)) else "",
        setup=decided,
        machine=MachineView(stage.facts, _findings(visit, decided, own), displayed(stage.fault, 500)),
        authority=_authority(stage, decided, there),
        hosts=await _hosts(visit, decided, own),
        bundle=await bundle_view(visit),
        keeps=visit.site.access.keeps,
        nodes=nodes,
        commands=_commands(stage, decided, nodes),
        fault=fault,
        job=job_page(visit, job) if job is not None else None,
        elsewhere=visit.feed.configured and not there.founded,
        least=LEAST,
        folder=str(stage.folder),
        restart=shlex.join(("swarm", "ui", "--data-dir", str(stage.folder))),
        plain=visit.request.url.scheme == "http",
    )


def _progress(step: Step, shown: Step, openable: tuple[Step, ...]) -> Progress:
    if step == shown:
        return "here"
    if step not in openable:
        return "closed"
    return "open" if step == openable[-1] else "done"


def _path(step: Step, openable: tuple[Step, ...]) -> str:
    return f"{PATH}/{step}" if step in openable else ""


def _layout(host: Chosen) -> Layout:
    try:
        return Layout(host.prefix)
    except UserError:
        return Layout()


def _ports(setup: Setup, stage: Stage) -> tuple[int, ...]:
    """The ports that are to be free on this machine; none once something is placed there, which may listen on them."""
    if stage.nodes or not setup.hosts:
        return ()
    here = any(each.name == THIS and setup.first == THIS for each in setup.hosts)
    return (setup.ports.api, setup.ports.p2p, setup.ports.join) if here else ()


def _authority(stage: Stage, setup: Setup, there: Existing) -> AuthorityView | None:
    certificate = identity.authority(stage.folder, setup.organisation) if setup.organisation else None
    if certificate is None:
        return None
    own = identity.certificate(stage.folder, setup.node)
    return AuthorityView(
        name=setup.organisation,
        thumbprint=thumbprint(certificate),
        expires_ms=expires_ms((certificate,)),
        certificate=_name(own),
        certificate_expires_ms=expires_ms((own,)) if own else None,
        may_discard=not setup.job and not there.founded,
    )


def _name(certificate: x509.Certificate | None) -> str:
    return name_in(certificate) if certificate else ""


def _this(stage: Stage, setup: Setup) -> Chosen:
    """This machine as it was chosen, or is proposed."""
    return next((each for each in setup.hosts if each.name == THIS), Chosen(THIS, "", stage.prefix))


def _findings(visit: Visit, setup: Setup, own: Chosen) -> list[Remark]:
    """What is to be known of this machine, faults first."""
    facts = visit.site.stage.facts
    if facts is None:
        return []
    found = [each for each in remarks(visit, facts, _layout(own)) if matters(each.code)]
    if taken := sorted(facts.ports.intersection(_ports(setup, visit.site.stage))):
        text = visit.text("setup.ports-taken", ports=", ".join(map(str, taken)))
        found.insert(0, Remark("ports", "fault", text))
    return found


async def _hosts(visit: Visit, setup: Setup, own: Chosen) -> list[HostRow]:
    """This machine first, then those of the page Hosts; before anything is chosen this machine is proposed."""
    stage = visit.site.stage
    taken = {each.name for each in setup.hosts} or {THIS}
    addresses = stage.facts.addresses if stage.facts else ()
    listed = await visit.site.hosts.all()
    alone = not listed
    address = own.address or ("127.0.0.1" if alone else next(iter(addresses), ""))
    rows = [HostRow(msgspec.structs.replace(own, address=address), THIS in taken, _sites(setup, THIS), addresses)]
    chosen = {each.name: each for each in setup.hosts}
    for host in listed:
        found = chosen.get(host.address, Chosen(host.address, address_of(host).host, host.folder))
        seen = host.seen.facts.addresses if host.seen else ()
        row = HostRow(found, host.address in taken, _sites(setup, host.address), seen)
        confirmed = host.pinned is not None and host.shown is None
        rows.append(msgspec.structs.replace(row, confirmed=confirmed, keeps_login=host.keeps_login))
    return rows


def _sites(setup: Setup, name: str) -> int:
    return setup.sites.get(name, 0)


def _planned(visit: Visit, setup: Setup) -> tuple[list[NodeRow], str]:
    """The nodes that are to be, or why that cannot be."""
    if not (setup.hosts and setup.first):
        return [], ""
    try:
        found = founding(setup)
    except UserError as error:
        return [], str(error)
    report = {"api": join(setup.host(setup.first).address, setup.ports.api), "network": NETWORK_ID}
    return [_node(setup, each, report) for each in (found.sn, *found.others)], ""


def _seen(visit: Visit, nodes: list[NodeRow], hosts: Sequence[Host]) -> list[NodeRow]:
    """The nodes with what is known of them: on this machine as they are, elsewhere from the last look at their host."""
    ledger = on_ledger(visit.feed.chain.world)
    states = {(THIS, each.name): (each.state, None) for each in visit.site.stage.nodes}
    elsewhere = [(host.address, host.seen) for host in hosts if host.seen is not None]
    seen = {(address, each.name): (each.state, sight.at_ms) for address, sight in elsewhere for each in sight.nodes}
    found = []
    for node in nodes:
        state, at_ms = {**states, **seen}.get((node.host, node.name.lower()), ("", None))
        _, there = ledger.get((node.kind.lower(), node.name.upper()), ("", ""))
        found.append(msgspec.structs.replace(node, state=state, seen_ms=at_ms, ledger=there))
    return found


def _node(setup: Setup, placed: Placed, report: dict[str, str]) -> NodeRow:
    host, node = setup.host(placed.host), placed.node
    layout = _layout(host)
    runs = (node if "sentinel" in node.flags else joining(node, report)).runs(layout)
    ports = [value for name, value in node.options if name.endswith("-port")]
    return NodeRow(
        name=node.name,
        kind=runs.words[0].upper(),
        host=host.name,
        address=host.address,
        ports=", ".join(ports),
        folder=layout.node(node.name),
        command=shlex.join(("swarm", *runs.words)),
    )


def _commands(stage: Stage, setup: Setup, nodes: list[NodeRow]) -> list[str]:
    """What would do the same in a terminal, in its order; the passphrase is in a file then."""
    if not nodes:
        return []
    office = str(stage.folder / identity.OFFICE)
    signing = ("--out", office, "--ca-passphrase-file", "PASSPHRASE-FILE")
    made = [shlex.join(("swarm", "ca", "create", setup.organisation, *signing))]
    authority = str(Workspace(Path(office)).authority_certificate(setup.organisation))
    for each in nodes:
        folder = f"{each.folder}/cert"
        request, issued = f"{folder}/{each.name.lower()}-request.pem", f"{office}/{each.name.lower()}-cert.pem"
        named = "--host-ip" if is_ip(each.address) else "--dns"
        made.append(shlex.join(("swarm", "cert", "request", each.name, "--out", folder, named, each.address)))
        made.append(shlex.join(("swarm", "ca", "sign", request, *signing)))
        made.append(
            shlex.join(("swarm", "cert", "install", each.name, issued, "--out", folder, "--authority", authority))
        )
        made.append(each.command)
    return made


def is_ip(address: str) -> bool:
    """Whether this is an IP address, and no name."""
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
