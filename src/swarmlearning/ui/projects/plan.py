"""What a deployment does: which files lie where, which keys are made there, which nodes start in which order. Pure.

Nothing is done here. What cannot work is named as a conflict, before anything is copied; `ui/hosts` carries out a plan
that has none.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from swarmlearning.address import AddressError, is_loopback, join, split
from swarmlearning.operator.nodes import TWO_SNS
from swarmlearning.swop.profile import Profile
from swarmlearning.ui.projects.kinds import KINDS, ProjectError, kind_of
from swarmlearning.ui.projects.macros import (
    LICENSE_SERVER,
    NO_LICENSE_SERVER,
    Place,
    differing,
    substituted,
    values_at,
)
from swarmlearning.ui.projects.placing import PlannedFile, Source, certificate_files, files_at
from swarmlearning.ui.projects.settings import HostPlace, ProjectNode, ProjectSettings, check_host

_ORDER: Final = {"sn": 1, "swop": 2, "sl": 3}
_FIRST_FS: Final = 30305
"""Of local processes, whose pairs count on from here by their index where the profile names no port."""
WITNESS_PORT: Final = 30303


class Listening(msgspec.Struct, frozen=True):
    """A port that a node, or a pair of a SWOP, listens on."""

    port: int
    what: str


class NeededKey(msgspec.Struct, frozen=True):
    """A node whose key is made on this host (`swarm cert request` in `folder`), and never leaves it; `certificate`:
    the project's file that was issued for it, empty where it has still to be requested."""

    host: str
    node: str
    folder: str
    certificate: str


class PlannedNode(msgspec.Struct, frozen=True):
    """A node to start: on which host, as which command, with its ports; `after`: nodes that have to be ready before."""

    name: str
    kind: str
    host: str
    address: str
    command: tuple[str, ...]
    data_dir: str
    listens: tuple[Listening, ...]
    after: tuple[str, ...]


class Conflict(msgspec.Struct, frozen=True):
    """Why a plan cannot be carried out: of which node, host or file, and what to do."""

    of: str
    what: str


class Plan(msgspec.Struct, frozen=True):
    """All of a deployment. Files come first, then keys, then nodes in this order. `tasks` are the project's task files
    as they go on the ledger, by path."""

    project: str
    files: tuple[PlannedFile, ...]
    keys: tuple[NeededKey, ...]
    nodes: tuple[PlannedNode, ...]
    tasks: dict[str, str]
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...]


class _Draft(NamedTuple):
    """What a plan is made of: the project's settings and files, and the hosts by name."""

    project: str
    settings: ProjectSettings
    sources: Mapping[str, Source]
    hosts: Mapping[str, HostPlace]

    def place(self, node: ProjectNode) -> Place:
        host = self.hosts[node.host]
        return Place(host.address, host.root, self.project)

    def profile(self, node: ProjectNode) -> Profile | None:
        """The SWOP's profile as its host gets it."""
        source = self.sources.get(node.profile)
        return None if source is None else source.profile_at(values_at(self.place(node), self.settings.values))


def plan(project: str, settings: ProjectSettings, sources: Sequence[Source], sn: str = "") -> Plan:
    """The deployment of a project on its hosts. `sn`: the API (`host:port`) of an SN of the network that the UI is
    connected to, which nodes join where the project founds none and they name none."""
    hosts = {each.name: each for each in settings.hosts}
    draft = _Draft(project, settings, {each.path: each for each in sources}, hosts)
    known = [node for node in settings.nodes if node.host in draft.hosts]
    used = [draft.hosts[name] for name in dict.fromkeys(node.host for node in known)]
    ordered = sorted(known, key=lambda node: (_ORDER[node.kind], not node.founds, node.name))
    through = _founder_address(draft, ordered) or sn
    conflicts = [*_unknown_hosts(draft), *_host_conflicts(used), *_founders(settings.nodes, through)]
    files: list[PlannedFile] = []
    for host in used:
        there = Place(host.address, host.root, project)
        found, faults = files_at(host.name, there, settings, sources)
        files += found
        conflicts += [Conflict(path, f"on host {host.name}: {text}") for path, text in faults]
    nodes = [_node(draft, node, ordered, through) for node in ordered]
    conflicts += [*_names(settings.nodes), *_ports(draft, ordered, nodes), *_profiles(draft, ordered)]
    tasks, task_conflicts = _tasks(draft, used)
    return Plan(
        project,
        tuple(files),
        tuple(_keys(draft, ordered)),
        tuple(nodes),
        tasks,
        tuple(dict.fromkeys((*conflicts, *task_conflicts))),
        tuple(_warnings(draft, ordered, used, through)),
    )


# --- nodes ----------------------------------------------------------------------------------------------------------


def _node(draft: _Draft, node: ProjectNode, ordered: Sequence[ProjectNode], through: str) -> PlannedNode:
    place = draft.place(node)
    data = f"{place.folder}/nodes/{node.name.lower()}"
    after = [other.name for other in ordered if _is_before(other, node)]
    words = (*_WORDS[node.kind](draft, node, node.join or through), "--data-dir", data, *_identity(node, place))
    values = values_at(place, draft.settings.values)
    tail = ("--", *node.script) if node.script else ()
    command = tuple(substituted(word, values).text for word in ("swarm", *words, *node.more, *tail))
    return PlannedNode(
        node.name, node.kind, node.host, place.address, command, data, tuple(_listens(draft, node)), tuple(after)
    )


def _is_before(other: ProjectNode, node: ProjectNode) -> bool:
    """Whether the other one has to be ready: the founder for all, and the SNs for SWOPs and SLs."""
    return other.name != node.name and (other.founds or (other.kind == "sn" and node.kind != "sn")) and not node.founds


def _identity(node: ProjectNode, place: Place) -> tuple[str, ...]:
    files = certificate_files(place, node.name)
    return ("--capath", files.capath, "--cert", files.certificate, "--key", files.key)


def _network(draft: _Draft, node: ProjectNode) -> tuple[str, ...]:
    return ("--network-id", draft.settings.network_id) if draft.settings.network_id and not node.founds else ()


def _license(draft: _Draft) -> tuple[str, ...]:
    """The license server as options; `host:port` where its port is not the usual one."""
    named = draft.settings.values.get(LICENSE_SERVER, NO_LICENSE_SERVER)
    if named == NO_LICENSE_SERVER:
        return ()
    try:
        host, port = split(named)
        return ("--apls-ip", host, "--apls-port", str(port))
    except AddressError:
        return ("--apls-ip", named)


def _sn(draft: _Draft, node: ProjectNode, through: str) -> tuple[str, ...]:
    address = draft.hosts[node.host].address
    joins = ("--sentinel",) if node.founds else _through(through, "--sentinel-ip", "--sentinel-api-port")
    ports = ("--sn-api-port", str(node.api_port), "--sn-p2p-port", str(node.p2p_port))
    welcomes = ("--sn-join-port", str(node.join_port))
    return ("sn", "--host-ip", address, *joins, *ports, *welcomes, *_network(draft, node), *_license(draft))


def _swop(draft: _Draft, node: ProjectNode, through: str) -> tuple[str, ...]:
    place, address = draft.place(node), draft.hosts[node.host].address
    policy = ("--policy-file", f"{place.folder}/{node.policy}") if node.policy else ()
    profile = ("--usr-dir", f"{place.folder}/profiles", "--profile-file-name", node.profile.rpartition("/")[2])
    contact = _through(through, "--sn-ip", "--sn-api-port")
    return ("swop", "--host-ip", address, *profile, *policy, *contact, *_network(draft, node), *_license(draft))


def _sl(draft: _Draft, node: ProjectNode, through: str) -> tuple[str, ...]:
    address, contact = draft.hosts[node.host].address, _through(through, "--sn-ip", "--sn-api-port")
    port = ("--sl-fs-port", str(node.fs_port))
    return ("sl", "--host-ip", address, *contact, *port, *_network(draft, node), *_license(draft))


_WORDS: Final = {"sn": _sn, "swop": _swop, "sl": _sl}


def _through(address: str, host_option: str, port_option: str) -> tuple[str, ...]:
    try:
        host, port = split(address)
    except AddressError:  # named as a conflict
        return ()
    return (host_option, host, port_option, str(port))


def _founder_address(draft: _Draft, ordered: Sequence[ProjectNode]) -> str:
    found = [node for node in ordered if node.kind == "sn" and node.founds]
    return join(draft.hosts[found[0].host].address, found[0].api_port) if found else ""


def _listens(draft: _Draft, node: ProjectNode) -> Iterator[Listening]:
    if node.kind == "sn":
        yield Listening(node.api_port, "API")
        yield Listening(node.p2p_port, "P2P")
        if node.join_port:
            yield Listening(node.join_port, "newcomers")
    elif node.kind == "sl":
        yield Listening(node.fs_port, "file server")
    elif (profile := draft.profile(node)) is not None:
        for pair in profile.nodes:
            port = pair.sl_port or (_FIRST_FS + pair.index if profile.manager == "PROCESS" else 0)
            if port and not pair.sl_relay:
                yield Listening(port, f"file server of pair {pair.index}")
        if profile.witness:
            yield Listening(WITNESS_PORT, "P2P of its witness")


def _keys(draft: _Draft, ordered: Sequence[ProjectNode]) -> Iterator[NeededKey]:
    """The keys of the nodes, and of the SLs that a SWOP's profile names."""
    issued = {each.node.upper(): each.path for each in draft.sources.values() if each.node}
    seen = set[tuple[str, str]]()
    for node in ordered:
        place = draft.place(node)
        profile = draft.profile(node)
        certs = f"{place.folder}/{KINDS['certificate'].folder}/"
        named = [file.source for pair in (profile.nodes if profile else ()) for file in pair.identity]
        of_pairs = [
            path.removeprefix(certs).removesuffix("-key.pem").upper()
            for path in named
            if path.startswith(certs) and path.endswith("-key.pem") and "/" not in path.removeprefix(certs)
        ]
        for each in (node.name.upper(), *of_pairs):
            if (node.host, each) not in seen:
                seen.add((node.host, each))
                yield NeededKey(node.host, each, certs.rstrip("/"), issued.get(each, ""))


# --- conflicts ------------------------------------------------------------------------------------------------------


def _unknown_hosts(draft: _Draft) -> Iterator[Conflict]:
    if not draft.settings.nodes:
        yield Conflict(draft.project, "the project has no nodes: add them, each on a host")
    for node in draft.settings.nodes:
        if node.host not in draft.hosts:
            there = ", ".join(draft.hosts) or "none yet"
            yield Conflict(node.name, f"there is no host {node.host!r}; add it to the hosts first; there is {there}")


def _host_conflicts(hosts: Sequence[HostPlace]) -> Iterator[Conflict]:
    by_address: dict[str, str] = {}
    for host in hosts:
        try:
            check_host(host)
        except ProjectError as error:
            yield Conflict(host.name, str(error).removeprefix(f"{host.name}: "))
            continue
        if (first := by_address.setdefault(host.address.lower(), host.name)) != host.name:
            yield Conflict(host.name, f"it has the address {host.address} as host {first} has")
        if len(hosts) > 1 and host.address.startswith(("localhost", "127.0.0.1")):
            yield Conflict(host.name, f"the nodes of other hosts cannot reach {host.address}; give its own address")


def _founders(nodes: Sequence[ProjectNode], through: str) -> Iterator[Conflict]:
    founders = [node for node in nodes if node.founds]
    for node in founders:
        if node.kind != "sn":
            yield Conflict(node.name, "only an SN founds a network")
        elif node.join:
            yield Conflict(node.name, f"it founds a network and is to join by {node.join}: choose one of both")
    for node in founders[1:]:
        yield Conflict(node.name, f"{founders[0].name} founds the network; a second one would be another network")
    for node in (node for node in nodes if not node.founds):
        try:
            if node.join or through:
                split(node.join or through)
                continue
            what = "no SN is known to join by: let an SN of this project found a network, or name the address of one"
            yield Conflict(node.name, what)
        except AddressError as error:
            yield Conflict(node.name, str(error))


def _names(nodes: Sequence[ProjectNode]) -> Iterator[Conflict]:
    seen: dict[str, ProjectNode] = {}
    for node in nodes:
        first = seen.setdefault(node.name.upper(), node)
        if first is not node:
            yield Conflict(node.name, f"host {first.host} has a node of this name; each needs a name of its own")


def _ports(draft: _Draft, ordered: Sequence[ProjectNode], nodes: Sequence[PlannedNode]) -> Iterator[Conflict]:
    taken: dict[tuple[str, int], tuple[str, str]] = {}
    for node in nodes:
        for each in node.listens:
            first = taken.setdefault((node.host, each.port), (node.name, each.what))
            if first != (node.name, each.what):
                text = f"port {each.port} ({each.what}) is taken on host {node.host} by {first[0]} ({first[1]})"
                yield Conflict(node.name, text)


def _profiles(draft: _Draft, ordered: Sequence[ProjectNode]) -> Iterator[Conflict]:
    groups: dict[tuple[str, str], str] = {}
    for node in ordered:
        for path, kind in ((node.profile, "profile"), (node.policy, "policy")):
            if node.kind != "swop":
                if path:
                    yield Conflict(node.name, f"only a SWOP has a {kind}")
            elif path and (path not in draft.sources or kind_of(path) != kind):
                yield Conflict(node.name, f"the project has no {kind} {path!r}")
        if node.kind == "sl" and not node.script:
            yield Conflict(node.name, "an SL needs a script, such as: python3 <PROJECT-MODEL>/train.py")
        if node.kind != "swop":
            continue
        if not node.profile:
            yield Conflict(node.name, "a SWOP needs a profile of the project")
        elif (profile := draft.profile(node)) is not None:
            first = groups.setdefault((node.host, profile.group), node.name)
            if first != node.name:
                yield Conflict(node.name, f"{first} has the group {profile.group} on host {node.host}, too")


def _tasks(draft: _Draft, hosts: Sequence[HostPlace]) -> tuple[dict[str, str], list[Conflict]]:
    """The tasks' files for the ledger, which has one text for all hosts, so macros need one value at all of them."""
    sources = [each for each in draft.sources.values() if kind_of(each.path) == "task"]
    places = [Place(host.address, host.root, draft.project) for host in hosts]
    values = [values_at(place, draft.settings.values) for place in places]
    texts, conflicts = dict[str, str](), list[Conflict]()
    for source in sources if values else ():
        for host, other in zip(hosts[1:], values[1:], strict=True):
            for macro in differing([source.text], values[0], other):
                what = (
                    f"{macro} is {values[0].get(macro)} on host {hosts[0].name} and {other.get(macro)} on host "
                    f"{host.name}, but a task is the same everywhere: use the same folders on all hosts"
                )
                conflicts.append(Conflict(source.path, what))
        texts[source.path] = substituted(source.text, values[0]).text
    return texts, conflicts


def _warnings(draft: _Draft, ordered: Sequence[ProjectNode], hosts: Sequence[HostPlace], through: str) -> Iterator[str]:
    sns = [node for node in ordered if node.kind == "sn"]
    if len(sns) == 2 and any(node.founds for node in sns):
        yield TWO_SNS
    for node in ordered:
        profile = draft.profile(node)
        named = f"{profile.api_host}:{profile.api_port or 30304}" if profile is not None and profile.api_host else ""
        if named and named != (node.join or through):
            yield f"{node.name}: its profile names the SN {named} (apisrv), which goes before {node.join or through}"
    if any(is_loopback(host.address) for host in hosts):
        yield "a loopback address is reached from its own machine only: other machines cannot join this network"
