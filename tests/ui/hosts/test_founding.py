"""A swarm from nothing: real nodes on a host by SSH and on this machine, and projects that are deployed."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from support.bundles import Program, make_bundle, standin_swarm
from support.ports import fixed_port
from support.sshd import SshHost
from support.tools import needs
from swarmlearning.errors import UserError
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ui.hosts.bundle import Bundle
from swarmlearning.ui.hosts.certifying import office_signs
from swarmlearning.ui.hosts.deploying import Deployment
from swarmlearning.ui.hosts.founding import Addressed, Founder, Founding, Placed, demo, joining, open_office
from swarmlearning.ui.hosts.hostkeys import MemoryHostKeys
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.local import LocalMachine
from swarmlearning.ui.hosts.logins import Secret
from swarmlearning.ui.hosts.machine import Machine
from swarmlearning.ui.hosts.nodes import NodeSpec
from swarmlearning.ui.hosts.progress import Event, HostsJob
from swarmlearning.ui.hosts.running import log, states, stop
from swarmlearning.ui.hosts.ssh import connected
from swarmlearning.ui.projects.placing import Source
from swarmlearning.ui.projects.plan import Plan, plan
from swarmlearning.ui.projects.settings import HostPlace, ProjectNode, ProjectSettings

WORD = Secret("a passphrase")
HUB, WEST = Addressed("hub", "127.0.0.1"), Addressed("west", "127.0.0.1")


class Two:
    """This machine, named hub, and a host by SSH, west."""

    def __init__(self, folder: Path, host: SshHost, keys: MemoryHostKeys) -> None:
        self._host, self._keys = host, keys
        self.layouts = {"hub": Layout(str(folder / "hub")), "west": Layout(str(folder / "west"))}

    def install(self, version: str, program: Program) -> None:
        for layout in self.layouts.values():
            standin_swarm(Path(layout.prefix), version, program)

    @asynccontextmanager
    async def open(self, host: str) -> AsyncIterator[Machine]:
        if host == "hub":
            yield LocalMachine()
            return
        async with connected(self._host.address, self._host.login, self._keys) as machine:
            yield machine


@pytest.fixture
async def two(tmp_path: Path, host: SshHost, keys: MemoryHostKeys) -> AsyncIterator[Two]:
    both = Two(tmp_path, host, keys)
    yield both
    for name, layout in both.layouts.items():
        async with both.open(name) as machine:
            for each in await states(machine, layout):
                role, _, rest = each.name.partition("-")
                await stop(machine, layout, f"{role.upper()}-{rest}")


async def ends(job: HostsJob) -> Mapping[str, Event]:
    return {event.host: event async for event in job.events() if not event.step}


def on_free_ports(founding: Founding) -> Founding:
    """The same with ports, epochs and an interpreter for tests."""

    def changed(placed: Placed) -> Placed:
        node = placed.node
        options = tuple((name, str(fixed_port()) if name.endswith("-port") else value) for name, value in node.options)
        training = (sys.executable, *node.training[1:]) if node.training else ()
        more = (*node.environment, ("SWARM_DEMO_EPOCHS", "2"), ("SWARM_DEMO_SECONDS", "0"))
        node = msgspec.structs.replace(node, options=options, training=training, environment=more)
        return Placed(placed.host, node)

    return Founding(changed(founding.sn), tuple(map(changed, founding.others)))


async def ended(machine: Machine, layout: Layout, name: str) -> None:
    """Waits, there, until a node has ended."""
    script = r"""
        read -r pid _ < "$1/pid"
        while now=$(sed 's/.*) \(.\).*/\1/' "/proc/$pid/stat" 2>/dev/null) && [ "$now" != Z ]; do sleep 0.2; done
    """
    await machine.run(script, layout.node(name), seconds=150)
    assert (name.lower(), "ended") in [(each.name, each.state) for each in await states(machine, layout)]


@needs("sshd")
async def test_from_nothing_to_a_swarm_that_has_trained(two: Two, tmp_path: Path, pip: Path) -> None:
    bundle = Bundle.read(make_bundle(tmp_path / "bundle", "0.1.0", pip))
    two.install(bundle.name, "real")
    office, authority = open_office(Workspace(tmp_path / "office"), "north", WORD)
    founder = Founder(two.open, two.layouts, bundle, office, authority)
    found = await ends(founder.job(on_free_ports(demo("north", HUB, [HUB, WEST], ordering="local"))))
    assert {host: event.state for host, event in found.items()} == {"hub": "done", "west": "done"}, found
    written: dict[str, str] = {}
    for number, name in enumerate(("hub", "west"), start=1):
        async with two.open(name) as machine:
            await ended(machine, two.layouts[name], f"SL-north-{number}")
            written[name] = await log(machine, two.layouts[name], f"SL-north-{number}")
    assert all("trained:" in each for each in written.values()), written


def planned(*nodes: ProjectNode, layouts: Mapping[str, Layout]) -> Plan:
    hosts = tuple(
        HostPlace(name, f"10.0.0.{number}", layout.prefix) for number, (name, layout) in enumerate(layouts.items(), 1)
    )
    sources = [Source("model/train.py", "1" * 64, 5)]
    return plan("mnist", ProjectSettings(hosts=hosts, nodes=nodes), sources)


SN = ProjectNode("SN-1", "sn", "hub", founds=True)
SL = ProjectNode("SL-1", "sl", "west", script=("python", "<PROJECT-MODEL>/train.py"))


@needs("sshd")
@pytest.mark.parametrize("program", ["stand-in", "broken"])
async def test_a_project_is_deployed_in_the_order_of_its_plan(two: Two, tmp_path: Path, program: Program) -> None:
    two.install("0.1.0", program)
    office, authority = open_office(Workspace(tmp_path / "office"), "north", WORD)
    files = {"model/train.py": b"print"}
    made = planned(SL, SN, layouts=two.layouts)
    deployment = Deployment(made, two.layouts, two.open, files.__getitem__, office_signs(office), authority)
    found = await ends(deployment.job())
    placed = Path(two.layouts["west"].prefix) / "projects/mnist/model/train.py"
    assert placed.read_bytes() == b"print"
    if program == "broken":
        assert "this version does not start" in found["hub"].detail
        assert "SN-1, which has to run before, does not" in found["west"].detail
        return
    assert {event.state for event in found.values()} == {"done"}, found
    async with two.open("west") as machine:
        written = await log(machine, two.layouts["west"], "SL-1")
    assert "--sn-ip 10.0.0.1 --sn-api-port 30304" in written
    assert written.rstrip().endswith(f"-- python {placed}")


def test_a_plan_with_conflicts_is_not_begun(tmp_path: Path) -> None:
    office, authority = open_office(Workspace(tmp_path / "office"), "north", WORD)
    made = planned(SL, layouts={"west": Layout("/opt/swarm")})
    deployment = Deployment(made, {}, lambda host: _never(), lambda path: b"", office_signs(office), authority)
    with pytest.raises(UserError, match="mnist cannot be deployed as it is: SL-1: no SN is known"):
        deployment.job()


@asynccontextmanager
async def _never() -> AsyncIterator[Machine]:
    raise AssertionError("nothing is opened")
    yield


def test_a_demo_has_one_sn_and_an_sl_a_site_with_ports_of_their_own() -> None:
    a, b = Addressed("a", "10.0.0.1"), Addressed("b", "b.example")
    found = demo("north", a, [a, a, b])
    assert list(found.hosts) == ["a", "b"]
    assert [node.name for node in found.hosts["a"]] == ["SN-north", "SL-north-1", "SL-north-2"]
    assert [dict(each.node.options)["sl-fs-port"] for each in found.others] == ["30305", "30308", "30305"]
    assert found.others[2].node.names == ("b.example",)
    assert found.sn.node.addresses == ("10.0.0.1",)


@pytest.mark.parametrize(
    ("sn", "sites", "why"),
    [
        ("127.0.0.1", ["10.0.0.2", "10.0.0.3"], "10.0.0.2 cannot reach the SN at 127.0.0.1"),
        ("10.0.0.1", ["10.0.0.2"], "two sites at least"),
    ],
)
def test_what_is_no_demo(sn: str, sites: list[str], why: str) -> None:
    with pytest.raises(UserError, match=why):
        demo("north", Addressed(sn, sn), [Addressed(each, each) for each in sites])


def test_nodes_join_the_network_that_was_founded_and_no_other() -> None:
    report = {"api": "[fd00::1]:30304", "network": "f" * 64}
    assert dict(joining(NodeSpec(name="SL-1"), report).options) == {
        "sn-ip": "fd00::1", "sn-api-port": "30304", "network-id": "f" * 64
    }  # fmt: skip
    assert dict(joining(NodeSpec(name="SN-2"), report).options)["sentinel-ip"] == "fd00::1"
    with pytest.raises(UserError):
        joining(NodeSpec(name="SL-1"), {"api": "nonsense"})
