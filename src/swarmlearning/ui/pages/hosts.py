"""The pages of hosts: those that the UI knows, what it has seen of each, their keys, and what nodes have written."""

import asyncio
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from fastapi import FastAPI, Query

from swarmlearning.ui.hosts.bundle import BundleError
from swarmlearning.ui.hosts.bundles import StatedBundle, chosen, stated_bundles
from swarmlearning.ui.hosts.facts import NEEDED_PYTHON, Facts
from swarmlearning.ui.hosts.judging import DISK, MACHINES, Plan, Weight, judge
from swarmlearning.ui.hosts.layout import DEFAULT_PREFIX, Layout
from swarmlearning.ui.hosts.nodes import proper_name
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit
from swarmlearning.ui.store.hosts import Host, HostFault

PATH: Final = "/hosts"
DEFAULT: Final = "bundle"
"""The setting that names the bundle to install unless another one is chosen."""
OUR_PORTS: Final = range(30302, 30308)
"""Those that nodes and the UI use unless they are told others."""

KeyState: TypeAlias = Literal["confirmed", "new", "changed", "unknown"]
"""`new`: shown, and not compared yet; `changed`: another one than the confirmed one was shown last."""


class HostNode(msgspec.Struct, frozen=True):
    """A node on a host, as it was seen last; `how`: under systemd, or by itself."""

    host: str
    name: str
    state: str
    how: str
    read: bool


class HostRow(msgspec.Struct, frozen=True):
    """A host in short. `version`: of the product that is used there; `job`: the number of the one that is at it."""

    address: str
    note: str
    folder: str
    key: KeyState
    keeps_login: bool
    seen_ms: int | None
    system: str
    version: str
    faults: int
    warnings: int
    job: int | None
    nodes: tuple[HostNode, ...]


class BundleView(msgspec.Struct, frozen=True):
    """What hosts get: its version, all there are (the one in use is `name`), or why there is none."""

    folder: str
    name: str = ""
    version: str = ""
    all: tuple[StatedBundle, ...] = ()
    fault: str = ""


class HostsView(msgspec.Struct, frozen=True):
    """All hosts; `new_keys`: so many have a key to compare; `keeps`: logins can be kept, encrypted."""

    hosts: list[HostRow]
    bundle: BundleView
    new_keys: int
    keeps: bool
    default_folder: str


class Remark(msgspec.Struct, frozen=True):
    """Something about a host, in the language of whoever asks; a fault is in the way of an installation."""

    code: str
    weight: Weight
    text: str


class HostPage(msgspec.Struct, frozen=True):
    """A host, and what its facts mean. `ports`: of ours, those that something listens on."""

    host: Host
    row: HostRow
    remarks: list[Remark]
    ports: tuple[int, ...]
    bundle: BundleView
    keeps: bool


class KeysView(msgspec.Struct, frozen=True):
    """Hosts whose key is to be compared, and those that have not shown one yet."""

    shown: list[Host]
    silent: list[str]
    keeps: bool


class OutputView(msgspec.Struct, frozen=True):
    """The end of what a node has written; `at_ms`: when it was read, None where it was not."""

    address: str
    node: str
    at_ms: int | None
    text: str


def add_hosts(app: FastAPI) -> None:
    """The pages."""

    @page(app, PATH, "hosts.html")
    async def hosts(visit: Here) -> HostsView:
        rows = [_row(visit, each) for each in await visit.site.hosts.all()]
        new = sum(each.key in ("new", "changed") for each in rows)
        return HostsView(rows, await bundle_view(visit), new, visit.site.access.keeps, DEFAULT_PREFIX)

    @page(app, f"{PATH}/keys", "hostkeys.html")
    async def keys(visit: Here) -> KeysView:
        found = await visit.site.hosts.all()
        silent = [each.address for each in found if each.shown is None and each.pinned is None]
        return KeysView([each for each in found if each.shown is not None], silent, visit.site.access.keeps)

    @page(app, f"{PATH}/{{address}}", "host.html")
    async def host(visit: Here, address: str) -> HostPage:
        found = await known(visit, address)
        facts = found.seen.facts if found.seen else None
        return HostPage(
            host=found,
            row=_row(visit, found),
            remarks=remarks(visit, facts, found.layout) if facts else [],
            ports=tuple(sorted(facts.ports.intersection(OUR_PORTS))) if facts else (),
            bundle=await bundle_view(visit),
            keeps=visit.site.access.keeps,
        )

    @page(app, f"{PATH}/{{address}}/output", "hostoutput.html")
    async def output(visit: Here, address: str, node: Annotated[str, Query(max_length=100)]) -> OutputView:
        found = await known(visit, address)
        if found.seen is None or node not in [proper_name(each.name) for each in found.seen.nodes]:
            raise Denied(404, "hosts.no-node")
        read = visit.site.access.output(address, node)
        return OutputView(address, node, read.at_ms if read else None, read.text if read else "")


async def known(visit: Visit, address: str) -> Host:
    """The host of this address. Raises `Denied`."""
    try:
        return await visit.site.hosts.get(address)
    except HostFault:
        raise Denied(404, "hosts.gone") from None


async def bundle_view(visit: Visit) -> BundleView:
    """What hosts would get; its files are checked when they do."""
    folder = visit.site.settings.bundle_folder
    try:
        found = await asyncio.to_thread(stated_bundles, folder)
    except BundleError as error:
        return BundleView(str(folder), fault=str(error) if folder.exists() else "")
    default = chosen(found, await visit.site.kept.get(DEFAULT))
    return BundleView(str(folder), default.name, default.version, found)


def remarks(visit: Visit, facts: Facts, layout: Layout) -> list[Remark]:
    """What these facts mean for an installation there, faults first."""
    values = _values(visit, facts, layout)
    return [
        Remark(each.code, each.weight, visit.text("hosts.finding-" + each.code, **values))
        for each in judge(facts, Plan(layout))
    ]


def _values(visit: Visit, facts: Facts, layout: Layout) -> dict[str, object]:
    """What stands in the texts of findings."""
    engines = [each.name for each in facts.engines if each.usable]
    versions = sorted({".".join(map(str, each.version)) for each in facts.pythons})
    newest = max(facts.pythons, key=lambda each: each.version, default=None)
    return {
        "wanted": ".".join(map(str, NEEDED_PYTHON)),
        "has": ", ".join(versions) or visit.text("hosts.no-python"),
        "path": newest.path if newest else "",
        "containers": visit.text("hosts.containers", engine=engines[0]) if engines else "",
        "kernel": facts.kernel,
        "machine": facts.machine,
        "machines": ", ".join(MACHINES),
        "libc": facts.libc,
        "prefix": layout.prefix,
        "user": facts.user or "USER",
        "free": facts.disk_free // 2**20,
        "needed": DISK // 2**20,
        "memory": facts.memory_free // 2**20,
        "seconds": f"{facts.clock_ahead_ms / 1000:+.1f}",
    }


def _row(visit: Visit, host: Host) -> HostRow:
    seen = host.seen
    weights = [each.weight for each in judge(seen.facts, Plan(host.layout))] if seen else []
    return HostRow(
        address=host.address,
        note=host.note,
        folder=host.folder,
        key=_key_state(host),
        keeps_login=host.keeps_login,
        seen_ms=seen.at_ms if seen else None,
        system=seen.facts.system if seen else "",
        version=seen.facts.version if seen else "",
        faults=weights.count("fault"),
        warnings=weights.count("warning"),
        job=visit.site.jobs.of_host(host.address),
        nodes=tuple(
            HostNode(
                host.address,
                name := proper_name(each.name),
                each.state,
                each.how,
                visit.site.access.output(host.address, name) is not None,
            )
            for each in (seen.nodes if seen else ())
        ),
    )


def _key_state(host: Host) -> KeyState:
    if host.pinned is None:
        return "unknown" if host.shown is None else "new"
    return "confirmed" if host.shown is None else "changed"
