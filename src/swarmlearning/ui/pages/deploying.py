"""The page of a project's deployment, and its acts: carry out the plan on the hosts, start and stop nodes there."""

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from cryptography import x509
from fastapi import FastAPI, Form

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import common_name, load_certificate
from swarmlearning.identity.requests import Request
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.contracts import network
from swarmlearning.node.clocks import clock_ms
from swarmlearning.ui.access import GivenLogin
from swarmlearning.ui.hosts import commands
from swarmlearning.ui.hosts.certifying import Sign, office_signs
from swarmlearning.ui.hosts.deploying import Deployment, require_sound
from swarmlearning.ui.hosts.filing import SMALL
from swarmlearning.ui.hosts.founding import open_office
from swarmlearning.ui.hosts.logins import Secret
from swarmlearning.ui.hosts.machine import Machine
from swarmlearning.ui.hosts.nodes import kind_of, proper_name
from swarmlearning.ui.hosts.progress import HostsJob
from swarmlearning.ui.hosts.seeing import see
from swarmlearning.ui.hosts.works import Target, started, stopped
from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.deployment import CLOSED, OFFICE, DeployView, authority_of, hosts_of, matched, nodes_of
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.hosting import NodeLine, node_commands
from swarmlearning.ui.pages.jobs import begun
from swarmlearning.ui.pages.logins import Given
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.pages.projects import PATH
from swarmlearning.ui.projects import kinds
from swarmlearning.ui.projects.deployed import DeployedHost, done, leaving
from swarmlearning.ui.projects.folder import Projects
from swarmlearning.ui.projects.kinds import ProjectError
from swarmlearning.ui.projects.plan import Plan, plan
from swarmlearning.ui.projects.settings import HostPlace, ProjectSettings
from swarmlearning.ui.site import Here, Visit

AT: Final = f"{PATH}/{{name}}/deploy"
Word = Annotated[str, Form(max_length=200)]
Ticked = Annotated[list[str], Form(default_factory=list, max_length=256)]


class Reached(NamedTuple):
    """A host of a project as it is opened, and its address in the UI's list."""

    address: str
    target: Target


def add_deployment(app: FastAPI) -> None:
    """The page, and its acts."""

    @page(app, AT, "deploy.html")
    async def deployment(visit: Here, name: str) -> DeployView:
        return await deploy_view(visit, name)

    @action(app, f"{AT}/carry-out", AT)
    async def carry_out(
        visit: Here, name: str, given: Given, organisation: Word = "", word: Annotated[str, Form(max_length=4096)] = ""
    ) -> Done:
        return await _carry_out(visit, name, given, organisation.strip(), Secret(word))

    @action(app, f"{AT}/forget", AT)
    async def forget(visit: Here, name: str, host: Word) -> Done:
        found = next((each for each in (await deploy_view(visit, name)).hosts if each.place.name == host), None)
        if found is None or not found.left:
            raise ProjectError(visit.text("deploy.not-left", host=host[:100]))
        await asyncio.to_thread(visit.site.projects.set_deployed, name, host, None)
        text = visit.text("deploy.forgotten", host=found.place.name)
        return Done(Flash("done", text), AT.format(name=name))

    @action(app, f"{AT}/start", AT)
    async def start(visit: Here, name: str, given: Given, node: Ticked) -> Done:
        reached, names = await _of_nodes(visit, name, node, given)
        works = {host: started(each.target, names[host]) for host, each in reached.items()}
        line = await _node_commands(visit, commands.starting, reached, names, given.user)
        return _begin(visit, "jobs.start-nodes", name, HostsJob(works), reached, line)

    @action(app, f"{AT}/stop", AT)
    async def stop(visit: Here, name: str, given: Given, node: Ticked) -> Done:
        reached, names = await _of_nodes(visit, name, node, given)
        works = {host: stopped(each.target, names[host]) for host, each in reached.items()}
        line = await _node_commands(visit, commands.stopping, reached, names, given.user)
        return _begin(visit, "jobs.stop-nodes", name, HostsJob(works), reached, line)


async def deploy_view(visit: Visit, name: str) -> DeployView:
    """The page's data. Raises `ProjectError`."""
    made, settings, deployed = await asyncio.to_thread(_read, visit.site.projects, name, _through(visit))
    listed = await visit.site.hosts.all()
    hosts = hosts_of(settings, made, deployed, listed)
    organisation = await _organisation(visit)
    authority = await asyncio.to_thread(
        authority_of, visit.site.settings.folder, organisation, founds=_founds(visit, settings)
    )
    return DeployView(
        name=name,
        hosts=hosts,
        nodes=nodes_of(made, deployed, hosts, listed, visit.feed.chain.world),
        conflicts=made.conflicts,
        warnings=made.warnings,
        organisation=organisation,
        authority=authority,
        keeps=visit.site.access.keeps,
        first=not deployed,
    )


async def _carry_out(visit: Visit, name: str, given: GivenLogin, organisation: str, word: Secret) -> Done:
    """Begins the job. Raises `UserError`; then nothing is done."""
    projects = visit.site.projects
    made, settings, deployed = await asyncio.to_thread(_read, projects, name, _through(visit))
    require_sound(made)
    used, gone = {node.host for node in made.nodes}, leaving(made, deployed)
    places = [each for each in settings.hosts if each.name in used]
    left = hosts_of(settings, made, deployed, await visit.site.hosts.all())
    places += [each.place for each in left if each.left and each.fault not in CLOSED]
    reached = await _reached(visit, places, given)
    targets = {host: each.target for host, each in reached.items()}
    organisation = await _organisation(visit) or organisation
    founds = _founds(visit, settings)
    sign, authority = await asyncio.to_thread(_signing, visit, name, organisation, word, founds=founds)

    async def finished(host: str, machine: Machine) -> None:
        layout = targets[host].layout
        record = done(made, host, layout.prefix, visit.user.name, clock_ms()) if host in used else None
        await asyncio.to_thread(projects.set_deployed, name, host, record)
        await targets[host].seen(await see(machine, layout))

    deployment = Deployment(
        plan=made,
        layouts={host: target.layout for host, target in targets.items()},
        open=lambda host: targets[host].open(),
        content=lambda path: projects.read(name, path, SMALL),
        sign=sign,
        authority=authority,
        path=partial(projects.path, name),
        gone={host: list(map(proper_name, names)) for host, names in gone.items() if host in reached},
        finished=finished,
    )
    line = commands.joined([f"{shlex.join(node.command)}  # {node.host}" for node in made.nodes])
    return _begin(visit, "jobs.deploy", name, deployment.job(), reached, line)


async def _node_commands(
    visit: Visit, line: NodeLine, reached: Mapping[str, Reached], names: Mapping[str, Sequence[str]], user: str
) -> str:
    """What would start or stop these nodes, which are named by the project's hosts."""
    by_address = {each.address: names[host] for host, each in reached.items()}
    return node_commands(line, await visit.site.hosts.some(list(by_address)), by_address, user)


def _begin(visit: Visit, title: str, name: str, job: HostsJob, reached: dict[str, Reached], command: str) -> Done:
    hosts = [each.address for each in reached.values()]
    made = visit.site.jobs.start(
        title, visit.user.name, job, hosts=hosts, values={"project": name}, to=AT.format(name=name)
    )
    return begun(visit, made, command)


async def _reached(visit: Visit, places: Sequence[HostPlace], given: GivenLogin) -> dict[str, Reached]:
    """The hosts of a project, by their names in it. Raises `UserError`."""
    listed = await visit.site.hosts.all()
    found: dict[str, Reached] = {}
    for place in places:
        host, fault = matched(place, listed)
        if host is None or fault in CLOSED:
            values = {"host": place.name, "address": place.address, "folder": place.root}
            raise ProjectError(visit.text(f"deploy.fault-{fault}", **values))
        found[place.name] = Reached(host.address, await visit.site.access.target(host, given))
    return found


async def _of_nodes(
    visit: Visit, name: str, ticked: Sequence[str], given: GivenLogin
) -> tuple[dict[str, Reached], dict[str, list[str]]]:
    """The hosts of nodes that were ticked as `HOST NODE`, and by host the nodes. Raises `UserError`."""
    if not ticked:
        raise ProjectError(visit.text("deploy.none-ticked"))
    view = await deploy_view(visit, name)
    known = {f"{each.host} {each.name}" for each in view.nodes}
    names: dict[str, list[str]] = {}
    for each in dict.fromkeys(ticked):
        if each not in known:
            raise ProjectError(visit.text("deploy.no-node", node=each[:100]))
        host, _, node = each.partition(" ")
        kind_of(proper_name(node))
        names.setdefault(host, []).append(proper_name(node))
    places = [each.place for each in view.hosts if each.place.name in names]
    return await _reached(visit, places, given), names


def _read(projects: Projects, name: str, sn: str) -> tuple[Plan, ProjectSettings, dict[str, DeployedHost]]:
    """The plan, and what was deployed before. Raises `ProjectError`."""
    settings = projects.settings(name)
    return plan(name, settings, projects.sources(name), sn), settings, projects.deployed(name)


def _signing(
    visit: Visit, name: str, organisation: str, word: Secret, *, founds: bool
) -> tuple[Sign, x509.Certificate]:
    """Who signs for new keys, and the authority that nodes trust. The passphrase opens the authority's key for this job
    alone. Raises `UserError`."""
    folder = visit.site.settings.folder
    where = authority_of(folder, organisation, founds=founds)
    if word and where != "elsewhere":
        if not organisation:
            raise ProjectError(visit.text("deploy.name-organisation"))
        office, authority = open_office(Workspace(folder / OFFICE), organisation, word)
        return office_signs(office), authority
    if where == "new":
        raise ProjectError(visit.text("deploy.new-authority"))
    authority = _known_authority(visit, name, organisation, here=where == "here")
    return _refusing(visit.text("deploy.no-signature")), authority


def _known_authority(visit: Visit, name: str, organisation: str, *, here: bool) -> x509.Certificate:
    """The organisation's authority without its key: of the UI's office, or of the project. Raises `UserError`."""
    if here:
        path = Workspace(visit.site.settings.folder / OFFICE).authority_certificate(organisation)
        return load_certificate(path.read_bytes())
    projects = visit.site.projects
    found = [each.path for each in projects.files(name) if kinds.kind_of(each.path) == "authority"]
    if not found:
        key = "deploy.no-authority" if organisation else "deploy.no-authority-unknown"
        raise ProjectError(visit.text(key, organisation=organisation))
    return load_certificate(projects.read(name, found[0]))


def _refusing(why: str) -> Sign:
    """Signs nothing, and says what to do about it."""

    async def sign(request: Request) -> x509.Certificate:
        raise UserError(f"{request.common_name}: {why}")

    return sign


def _through(visit: Visit) -> str:
    """An SN that nodes join by."""
    return next(iter(network.sn_addresses(visit.feed.chain.world)), "") if visit.feed.configured else ""


def _founds(visit: Visit, settings: ProjectSettings) -> bool:
    """Whether the project founds a network, and the UI has none yet: only then a new authority may be made."""
    return not visit.feed.configured and any(node.founds for node in settings.nodes)


async def _organisation(visit: Visit) -> str:
    """Whose nodes these are: the organisation of the UI's certificate, or that of the authority which is kept here."""
    return visit.feed.organisation or await asyncio.to_thread(_kept_organisation, visit.site.settings.folder)


def _kept_organisation(folder: Path) -> str:
    office = Workspace(folder / OFFICE)
    found = [office.authority_certificate(name) for name in office.authorities()]
    return next((common_name(load_certificate(path.read_bytes())) for path in found if path.exists()), "")
