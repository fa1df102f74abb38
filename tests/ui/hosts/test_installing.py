"""The product gets on a host by a small bundle, is upgraded there, and removed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.bundles import make_bundle, standin_swarm
from support.sshd import SshHost
from support.tools import needs
from swarmlearning.ui.hosts.bundle import Bundle, BundleError
from swarmlearning.ui.hosts.hostkeys import MemoryHostKeys
from swarmlearning.ui.hosts.installing import install
from swarmlearning.ui.hosts.judging import Plan
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.local import LocalMachine
from swarmlearning.ui.hosts.machine import MachineError, part_of
from swarmlearning.ui.hosts.nodes import NodeSpec
from swarmlearning.ui.hosts.progress import Event, HostsJob, State, Tell, Work, silent
from swarmlearning.ui.hosts.running import place, start, states, stop
from swarmlearning.ui.hosts.shipping import ship
from swarmlearning.ui.hosts.ssh import SshMachine, connected, look
from swarmlearning.ui.hosts.upgrading import uninstall, upgrade

pytestmark = needs("sshd")

SN = NodeSpec(name="SN-1", flags=("sentinel",))


class Told:
    """Keeps the steps that were told, in their order."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, State]] = []
        self.bytes: list[tuple[int, int]] = []

    def __call__(self, step: str, state: State, detail: str = "", done: int = 0, total: int = 0) -> None:
        if (step, state) not in self.steps[-1:]:
            self.steps.append((step, state))
        if step == "copy":
            self.bytes.append((done, total))


async def node(machine: SshMachine, layout: Layout) -> tuple[str, str]:
    """How the one node is, and its version."""
    found = (await states(machine, layout))[0]
    return found.state, found.report.get("version", "")


async def test_installed_upgraded_and_removed(host: SshHost, machine: SshMachine, tmp_path: Path, pip: Path) -> None:
    layout = Layout(host.prefix)
    first, second = (Bundle.read(make_bundle(tmp_path / each, each, pip)) for each in ("0.1.0", "0.2.0"))
    broken = Bundle.read(make_bundle(tmp_path / "0.3.0", "0.3.0", pip, "broken"))
    told = Told()
    half = {layout.marker: "{}", f"{layout.version(first.name)}/bin/swarm": "#!/bin/sh\nexit 1\n"}
    for path, text in (half | {f"{layout.bundle(first.name)}/requirements.txt": "# no"}).items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)  # as one leaves it that was killed in the middle
        Path(path).write_text(text)
    assert await install(machine, first, Plan(layout), told) == first.name
    assert [step for step, state in told.steps if state == "done"] == ["check", "copy", "install"]
    assert told.bytes[-1][0] == told.bytes[-1][1] > 10**6
    assert (await machine.run('"$1" --version', layout.swarm)).text == "swarm 0.1.0\n"
    assert not Path(host.prefix, "bundles").exists()

    await place(machine, layout, SN.runs(layout))
    await start(machine, layout, "SN-1", "detached")
    again = Told()
    await install(machine, first, Plan(layout), again)  # it is there: nothing is copied, and nodes go on
    assert again.bytes == []

    assert await upgrade(machine, second, Plan(layout), silent) == second.name
    assert await node(machine, layout) == ("running", "0.2.0")
    assert {path.name for path in Path(host.prefix, "versions").iterdir()} == {first.name, second.name}

    with pytest.raises(MachineError, match=rf"this version does not start.*run under {second.name} again"):
        await upgrade(machine, broken, Plan(layout), silent)
    assert await node(machine, layout) == ("running", "0.2.0")

    (Path(host.prefix) / "notes.txt").write_text("of somebody else")
    await uninstall(machine, layout, silent)
    assert await node(machine, layout) == ("stopped", "0.2.0")
    left = {path.name for path in Path(host.prefix).iterdir()}
    assert left == {"nodes", "notes.txt", "swarm-ui.json"}
    await uninstall(machine, layout, silent, data=True)
    assert {path.name for path in Path(host.prefix).iterdir()} == {"notes.txt"}
    with pytest.raises(MachineError, match="was not installed from here"):
        await uninstall(machine, layout, silent, data=True)


async def test_an_upgrade_that_was_interrupted_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new version was in use already when the UI was killed: no node ran under it."""
    machine, layout = LocalMachine(), Layout(str(tmp_path))

    async def installed(*_: object) -> str:
        return "0.2.0"

    monkeypatch.setattr("swarmlearning.ui.hosts.upgrading.install", installed)
    standin_swarm(tmp_path)
    await place(machine, layout, SN.runs(layout))
    await start(machine, layout, "SN-1", "detached")
    try:
        standin_swarm(tmp_path, "0.2.0")
        assert [each.version for each in await states(machine, layout)] == ["0.1.0"]
        bundle = Bundle(tmp_path, "0.2.0", (), ())
        assert await upgrade(machine, bundle, Plan(layout), silent) == "0.2.0"
        (found,) = await states(machine, layout)
        assert (found.state, found.version, found.report["version"]) == ("running", "0.2.0", "0.2.0")
        again = Told()
        await upgrade(machine, bundle, Plan(layout), again)  # nothing is left to be done: nodes go on
        assert again.steps == []
    finally:
        await stop(machine, layout, "SN-1")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[SshHost]:
    with SshHost(tmp_path / "bare", python=False) as started:
        yield started


@pytest.fixture
async def bare_machine(bare: SshHost) -> AsyncIterator[SshMachine]:
    keys = MemoryHostKeys()
    await keys.pin(bare.address, await look(bare.address))
    async with connected(bare.address, bare.login, keys) as machine:
        yield machine


@needs("root")
async def test_a_host_without_python_is_told_so_before_anything_is_copied(
    bare: SshHost, bare_machine: SshMachine, tmp_path: Path, pip: Path
) -> None:
    bundle = Bundle.read(make_bundle(tmp_path / "bundle", "0.1.0", pip))
    told = Told()
    with pytest.raises(
        MachineError, match=r"Python 3\.11 or later is needed, and this host has none.*Nothing was copied"
    ):
        await install(bare_machine, bundle, Plan(Layout(bare.prefix)), told)
    assert told.steps == [("check", "running")]
    assert not Path(bare.prefix).exists()


async def test_what_somebody_else_has_put_there_stays(tmp_path: Path, pip: Path) -> None:
    bundle = Bundle.read(make_bundle(tmp_path / "bundle", "0.1.0", pip))
    place_of_others = tmp_path / "opt"
    place_of_others.mkdir()
    (place_of_others / "README.md").write_text("the original")
    with pytest.raises(MachineError, match="holds files that were not installed from here"):
        await install(LocalMachine(), bundle, Plan(Layout(str(place_of_others))), silent)
    assert [path.name for path in place_of_others.iterdir()] == ["README.md"]


async def test_what_arrives_damaged_is_sent_again_and_what_is_there_is_not(tmp_path: Path, pip: Path) -> None:
    bundle = Bundle.read(make_bundle(tmp_path / "bundle", "0.1.0", pip))
    files, target, told = bundle.files, tmp_path / "there", Told()
    python = "python3"
    machine = LocalMachine()
    await ship(machine, bundle, files, python, str(target), told)
    damaged = target / "wheels" / "swarmlearning-0.1.0-py3-none-any.whl"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    (target / part_of("bin/etcd")).write_text("left from before, and longer than the file is, much longer")
    told.bytes.clear()
    await ship(machine, bundle, files, python, str(target), told)
    size = next(each.size for each in files if each.path.endswith(damaged.name))
    sent = told.bytes[-2][0] - told.bytes[0][0]
    assert sent <= size
    assert damaged.read_bytes() == (bundle.folder / "wheels" / damaged.name).read_bytes()


async def test_what_arrives_damaged_again_and_again_is_given_up(tmp_path: Path, pip: Path) -> None:
    bundle = Bundle.read(make_bundle(tmp_path / "bundle", "0.1.0", pip))

    class Lossy(LocalMachine):
        async def send(self, source: Path, target: str, mode: int, told: object) -> None:
            await asyncio.to_thread(Path(target).write_bytes, b"nonsense")

    with pytest.raises(MachineError, match="arrives damaged again and again"):
        await ship(Lossy(), bundle, bundle.files, "python3", str(tmp_path / "there"), silent)


async def test_a_host_for_which_there_are_no_packages_is_told_so(tmp_path: Path, pip: Path) -> None:
    made = Bundle.read(make_bundle(tmp_path / "bundle", "0.1.0", pip))
    bundle = Bundle(made.folder, made.version, made.files, (((3, 99), "x86_64"),))
    with pytest.raises(BundleError, match=r"^this machine: the bundle has packages for Python 3\.99"):
        await install(LocalMachine(), bundle, Plan(Layout(str(tmp_path / "opt"))), silent)
    assert not (tmp_path / "opt").exists()


async def test_many_hosts_at_a_time_and_an_end_in_the_middle(tmp_path: Path, pip: Path) -> None:
    """The first host to copy something is where somebody loses patience; nothing half is used anywhere."""
    bundle = Bundle.read(make_bundle(tmp_path / "bundle", "0.1.0", pip))
    layouts = {name: Layout(str(tmp_path / name)) for name in ("a", "b", "c", "d")}

    def work(layout: Layout) -> Work:
        async def installed(tell: Tell) -> str:
            return await install(LocalMachine(), bundle, Plan(layout), tell)

        return installed

    job = HostsJob({name: work(layout) for name, layout in layouts.items()}, at_once=2)
    last: dict[str, Event] = {}
    async for event in job.events():
        if event.step == "copy":
            job.cancel()
        if not event.step:
            last[event.host] = event
    assert {event.state for event in last.values()} == {"cancelled"}
    assert [name for name, layout in layouts.items() if Path(layout.current).exists()] == []
