"""The first set-up, step by step: what the steps do. Passphrases and codes are in the request alone, and in no log."""

import asyncio
import re
import shlex
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, Form
from pydantic import Field

from swarmlearning.invitations.code import LONGEST, read_code
from swarmlearning.ui.hosts import commands
from swarmlearning.ui.hosts.addresses import PORT, read_addresses
from swarmlearning.ui.hosts.bundle import Bundle, read_bundle
from swarmlearning.ui.hosts.bundles import chosen, stated_bundles
from swarmlearning.ui.hosts.founding import Ports
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.logins import Secret
from swarmlearning.ui.hosts.nodes import proper_name
from swarmlearning.ui.hosts.progress import HostsJob
from swarmlearning.ui.jobs.views import outcome
from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.hosts import DEFAULT
from swarmlearning.ui.pages.logins import Given
from swarmlearning.ui.pages.setup import PATH, is_ip
from swarmlearning.ui.security.passwords import MOST, require_good
from swarmlearning.ui.setup import identity
from swarmlearning.ui.setup.joining import require_for_ui
from swarmlearning.ui.setup.state import (
    MOST_SITES,
    THIS,
    Chosen,
    Setup,
    SetupError,
    Way,
    founding,
    with_hosts,
    with_network,
    with_organisation,
)
from swarmlearning.ui.site import Here, Visit

Passphrase = Annotated[str, Form(max_length=MOST)]
Port = Annotated[int, Form(ge=1, le=65535)]
Texts = Annotated[list[str], Form()]
Ticked = Annotated[list[str], Form(default_factory=list)]
_LINE: Final = re.compile(r"\s*swarm\s+join\s+", re.IGNORECASE)
"""People paste the whole command."""
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", re.ASCII)
SUMMARY: Final = f"{PATH}/summary"


def add_setting_up(app: FastAPI) -> None:
    """The acts of all steps."""
    _add_beginning(app)
    _add_planning(app)
    _add_working(app)


def _add_beginning(app: FastAPI) -> None:
    @action(app, f"{PATH}/begin", PATH)
    async def begin(visit: Here, way: Annotated[Way, Form()]) -> Done:
        def begun(setup: Setup) -> Setup:
            if setup.way == way:
                return setup
            if visit.feed.configured or setup.network_id:
                raise SetupError("setup.configured", "this UI belongs to a network already")
            return Setup(way=way, organisation=setup.organisation)

        await _decide(visit, begun)
        return _next("organisation" if way == "found" else "join", "")

    @action(app, f"{PATH}/organisation", f"{PATH}/organisation")
    async def make_organisation(
        visit: Here, organisation: Annotated[str, Form(max_length=100)], passphrase: Passphrase, again: Passphrase
    ) -> Done:
        stage = visit.site.stage
        require_good(passphrase, organisation)
        if passphrase != again:
            raise SetupError("setup.differ", "the passphrase was typed in two different ways")
        await _require_idle(visit)
        await stage.change(lambda setup: with_organisation(setup, organisation))
        await _establish(visit, organisation, Secret(passphrase))
        office = str(stage.folder / identity.OFFICE)
        words = ("swarm", "ca", "create", organisation, "--out", office, "--ca-passphrase-file", "PASSPHRASE-FILE")
        return _next("hosts", visit.text("setup.authority-made", name=organisation), shlex.join(words))

    @action(app, f"{PATH}/certify", f"{PATH}/organisation")
    async def certify(visit: Here, passphrase: Passphrase) -> Done:
        setup = await visit.site.stage.setup()
        setup = await _establish(visit, setup.organisation, Secret(passphrase))
        visit.site.stage.follow(setup, visit.feed)
        return _next("organisation", visit.text("setup.certified", name=setup.node))

    @action(app, f"{PATH}/organisation/discard", f"{PATH}/organisation")
    async def discard(visit: Here) -> Done:
        stage, setup = visit.site.stage, await visit.site.stage.setup()
        if setup.job or setup.network_id:
            raise SetupError("setup.used", "nodes have certificates of this authority, so it stays")
        await _require_idle(visit)
        await asyncio.to_thread(identity.discard, stage.folder)
        await stage.change(lambda setup: msgspec.structs.replace(setup, organisation="", node=""))
        return _next("organisation", visit.text("setup.discarded", name=setup.organisation))


async def _establish(visit: Visit, organisation: str, passphrase: Secret) -> Setup:
    """Issues the UI's certificate, by an authority that is made where there is none. Raises `UserError`."""
    stage = visit.site.stage
    addresses = stage.facts.addresses if stage.facts else ()
    ips = ["127.0.0.1", "::1", *filter(is_ip, addresses)]
    names = ["localhost", *filter(_HOST.fullmatch, [socket.gethostname()])]
    node = await asyncio.to_thread(identity.establish, stage.folder, organisation, passphrase, names, ips)
    return await stage.change(lambda setup: msgspec.structs.replace(setup, node=node))


def _add_planning(app: FastAPI) -> None:
    @action(app, f"{PATH}/hosts", f"{PATH}/hosts")
    async def hosts(visit: Here, name: Texts, address: Texts, prefix: Texts, taken: Ticked) -> Done:
        if not len(name) == len(address) == len(prefix):
            raise SetupError("setup.no-hosts", "each host has a name, an address and a folder")
        found = [await _chosen(visit, *each) for each in zip(name, address, prefix, strict=True) if each[0] in taken]
        await _decide(visit, lambda setup: with_hosts(setup, tuple(found)))
        return _next("network", "")

    @action(app, f"{PATH}/network", f"{PATH}/network")
    async def network(
        visit: Here,
        network: Annotated[str, Form(max_length=100)],
        first: Annotated[str, Form(max_length=300)],
        host: Texts,
        sites: Annotated[list[Annotated[int, Field(ge=0, le=MOST_SITES)]], Form()],
        epochs: Annotated[int, Form(ge=1, le=100_000)],
        api: Port,
        p2p: Port,
        join: Port,
        fs: Port,
    ) -> Done:
        counted = dict(zip(host, sites, strict=False))
        ports = Ports(api, p2p, join, fs)
        await _decide(visit, lambda setup: with_network(setup, network, first, counted, epochs, ports))
        return _next("review", "")


async def _chosen(visit: Visit, name: str, address: str, prefix: str) -> Chosen:
    """A host as it was typed; the folder of one with SSH is that of the page Hosts. Raises `UserError`."""
    found = read_addresses(address)
    if len(found) != 1 or found[0].port != PORT:
        shown = address[:80]
        raise SetupError("setup.one-address", f"{shown!r}: give one address, without a port", address=shown)
    if name != THIS:
        host = await visit.site.hosts.get(name)
        if host.pinned is None:
            raise SetupError("setup.no-key", f"the key of {name} is not confirmed yet: see the page Hosts", host=name)
        prefix = host.folder
    return Chosen(name, found[0].host, Layout(prefix.strip()).prefix)


def _add_working(app: FastAPI) -> None:
    @action(app, f"{PATH}/install", f"{PATH}/review")
    async def install(visit: Here, ca_passphrase: Passphrase, given: Given) -> Done:
        stage = visit.site.stage
        setup = await stage.setup()
        if not (setup.hosts and setup.first):
            raise SetupError("setup.not-yet", "choose hosts and the network before")
        await _require_idle(visit)
        opened = await asyncio.to_thread(identity.opened, stage.folder, setup.organisation, Secret(ca_passphrase))
        far = [each for each in founding(setup).hosts if each != THIS]
        bundle = await _bundle(visit) if far else None
        targets = {each: await visit.site.access.target(await visit.site.hosts.get(each), given) for each in far}
        work = stage.installation(setup, opened, targets, bundle, visit.feed)
        return await _work(visit, "install", work, {"name": setup.network}, [THIS, *far])

    @action(app, f"{PATH}/join", f"{PATH}/join")
    async def join(visit: Here, code: Annotated[str, Form(max_length=LONGEST)]) -> Done:
        if visit.feed.configured:
            raise SetupError("setup.configured", "this UI belongs to a network already")
        found = read_code(_LINE.sub("", code))
        require_for_ui(found)
        await _require_idle(visit)
        return await _work(visit, "join", visit.site.stage.joining(found, visit.feed), {"name": found.name}, [THIS])

    @action(app, f"{PATH}/nodes/start", SUMMARY)
    async def start(visit: Here) -> Done:
        return await _on_nodes(visit, "start")

    @action(app, f"{PATH}/nodes/stop", SUMMARY)
    async def stop(visit: Here) -> Done:
        return await _on_nodes(visit, "stop")


async def _bundle(visit: Visit) -> Bundle:
    """What other machines get. Raises `BundleError`."""
    found = await asyncio.to_thread(stated_bundles, visit.site.settings.bundle_folder)
    return await read_bundle(Path(chosen(found, await visit.site.kept.get(DEFAULT)).folder))


async def _work(visit: Visit, step: str, work: HostsJob, values: dict[str, str], hosts: list[str]) -> Done:
    """Begins it as the job of the set-up, which this step shows; what came of it is kept."""
    stage, jobs = visit.site.stage, visit.site.jobs

    async def over() -> None:
        found = jobs.get(begun.id)
        if found is not None and outcome(found.hosts) == "done":
            await stage.installed()
        await stage.look_anew(visit.feed.news)

    begun = jobs.start("setup.job-" + step, visit.user.name, work, hosts=hosts, values=values, done=over, to=SUMMARY)
    await stage.change(lambda setup: msgspec.structs.replace(setup, job=begun.id, done=False))
    command = "swarm join CODE" if step == "join" else ""
    return Done(Flash("waits", visit.text("jobs.begun", number=begun.id), command), f"{PATH}/{step}")


async def _on_nodes(visit: Visit, act: str) -> Done:
    stage = visit.site.stage
    setup = await stage.setup()
    layout = Layout(setup.host(THIS).prefix)
    names = [node.name for node in founding(setup).hosts.get(THIS, ())]
    starts = act == "start"
    work = stage.starting(setup, names) if starts else stage.stopping(setup, names[::-1])

    async def over() -> None:
        await stage.look_anew(visit.feed.news)

    job = visit.site.jobs.start("setup.job-" + act, visit.user.name, work, hosts=[THIS], done=over, to=SUMMARY)
    how = {proper_name(each.name): each.how for each in stage.nodes}
    line = commands.starting if starts else commands.stopping
    command = commands.joined([line(layout, name, how.get(name, "detached")) for name in names])
    return Done(Flash("waits", visit.text("jobs.begun", number=job.id), command), f"/jobs/{job.id}")


async def _decide(visit: Visit, change: Callable[[Setup], Setup]) -> None:
    """Keeps a decision, unless there is work by the decisions before. Raises `UserError`."""
    await _require_idle(visit)
    await visit.site.stage.change(change)


async def _require_idle(visit: Visit) -> None:
    setup = await visit.site.stage.setup()
    job = visit.site.jobs.get(setup.job)
    if job is not None and job.state == "running":
        raise SetupError("setup.busy", "the installation is under way: wait for its end, or cancel it")


def _next(step: str, text: str, command: str = "") -> Done:
    """The way to a step; without a text it speaks for itself."""
    return Done(Flash("done", text, command), f"{PATH}/{step}")
