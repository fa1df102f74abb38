"""Nodes on a host: as a process of their own, and as a unit of a real systemd."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.bundles import standin_swarm
from support.sshd import SshHost
from support.tools import lacks
from swarmlearning.ui.hosts.hostkeys import MemoryHostKeys
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.local import LocalMachine
from swarmlearning.ui.hosts.machine import Machine, MachineError, Ran
from swarmlearning.ui.hosts.nodes import How, NodeSpec, how_for, unit_name
from swarmlearning.ui.hosts.probe import probe
from swarmlearning.ui.hosts.running import KEPT_OUTPUT, log, place, start, states, stop
from swarmlearning.ui.hosts.ssh import connected, look

SN = NodeSpec(name="SN-1", options=(("host-ip", "127.0.0.1"),), flags=("sentinel",), files=(("a/b.txt", b"given"),))
SWOP = NodeSpec(name="SWOP-1")


class Site(NamedTuple):
    machine: Machine
    layout: Layout
    how: How


@pytest.fixture(scope="module", params=["detached", "user"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with_systemd = request.param == "user"
    if reason := lacks("systemd" if with_systemd else "sshd"):
        pytest.skip(reason)
    with SshHost(tmp_path_factory.mktemp(request.param) / "host", systemd=with_systemd) as started:
        yield started


@pytest.fixture
async def site(server: SshHost, tmp_path: Path) -> AsyncIterator[Site]:
    keys = MemoryHostKeys()
    await keys.pin(server.address, await look(server.address))
    layout = Layout(str(tmp_path / "swarm"))
    standin_swarm(Path(layout.prefix))
    async with connected(server.address, server.login, keys) as machine:
        yield Site(machine, layout, "user" if "user" in server.folder.parent.name else "detached")
        for each in await states(machine, layout):
            await stop(machine, layout, "-".join((each.name.partition("-")[0].upper(), each.name.partition("-")[2])))


async def put(site: Site, spec: NodeSpec) -> None:
    await place(site.machine, site.layout, spec.runs(site.layout), spec.files)


async def state(site: Site) -> list[tuple[str, str, str]]:
    return [(each.name, each.state, each.how) for each in await states(site.machine, site.layout)]


async def test_a_node_starts_and_stops_in_good_order(site: Site) -> None:
    assert how_for(await probe(site.machine, site.layout)) == site.how
    await put(site, SN)
    assert (Path(site.layout.node("SN-1")) / "usr/a/b.txt").read_text() == "given"
    assert await state(site) == [("sn-1", "ended", "detached")]
    report = await start(site.machine, site.layout, "SN-1", site.how)
    assert report["version"] == "0.1.0"
    assert await start(site.machine, site.layout, "SN-1", site.how) == report  # it runs: nothing is started
    assert await state(site) == [("sn-1", "running", site.how)]
    await stop(site.machine, site.layout, "SN-1")
    assert await state(site) == [("sn-1", "stopped", site.how)]
    written = await log(site.machine, site.layout, "SN-1")
    assert written.startswith("0.1.0 as sn --sentinel")
    assert written.endswith("stopped\n")
    await stop(site.machine, site.layout, "SN-1")
    await stop(site.machine, site.layout, "SN-2")  # it was never there


async def test_a_node_outlives_the_connection_that_has_started_it(site: Site, server: SshHost) -> None:
    await put(site, SN)
    keys = MemoryHostKeys()
    await keys.pin(server.address, await look(server.address))
    async with connected(server.address, server.login, keys) as other:
        report = await start(other, site.layout, "SN-1", site.how)
    assert await state(site) == [("sn-1", "running", site.how)]
    assert await start(site.machine, site.layout, "SN-1", site.how) == report


async def test_a_node_that_ends_is_seen_and_starts_again(site: Site) -> None:
    await put(site, SN)
    first = await start(site.machine, site.layout, "SN-1", site.how)
    if site.how == "user":  # systemd itself starts it again when it is killed
        await site.machine.run('XDG_RUNTIME_DIR=/run/user/0 systemctl --user kill "$1"', unit_name(site.layout, "SN-1"))
        await site.machine.run('while systemctl --user is-active --quiet "$1"; do sleep 0.1; done')
    await site.machine.run('kill -KILL "$1"', first["pid"])
    found = (await state(site))[0]
    assert found[1] in ("ended", "starting") if site.how == "detached" else found[1] != "running"
    second = await start(site.machine, site.layout, "SN-1", site.how)
    assert second["pid"] != first["pid"]


async def test_a_node_that_does_not_start_says_why(site: Site) -> None:
    standin_swarm(Path(site.layout.prefix), "0.3.0", "broken")
    await put(site, SN)
    with pytest.raises(MachineError, match=r"SN-1 has ended before it was ready.*this version does not start"):
        await start(site.machine, site.layout, "SN-1", site.how)
    assert (await state(site))[0][1] in ("ended", "stopped")


async def test_a_node_that_is_never_ready_is_given_up(site: Site) -> None:
    await put(site, SN)
    script = Path(site.layout.node("SN-1")) / "run.sh"
    script.write_text('cd "${0%/*}"; echo x >> begun; while :; do echo thinking >> output; sleep 0.1; done\n')
    while not (script.parent / "begun").exists():  # a busy machine may need longer than it is given
        with pytest.raises(MachineError, match="not ready after 1 s"):
            await start(site.machine, site.layout, "SN-1", site.how, seconds=1)
    with pytest.raises(MachineError, match=r"not ready after 1 s.*thinking"):  # it is waited for, not started twice
        await start(site.machine, site.layout, "SN-1", site.how, seconds=1)
    assert await state(site) == [("sn-1", "starting", site.how)]
    assert (script.parent / "begun").read_text() == "x\n"
    await stop(site.machine, site.layout, "SN-1")
    assert await state(site) == [("sn-1", "stopped", site.how)]


async def test_what_a_node_writes_is_bounded(site: Site) -> None:
    await put(site, SN)
    await start(site.machine, site.layout, "SN-1", site.how)
    output = Path(site.layout.node("SN-1")) / "output"
    with output.open("ab") as file:
        file.write(b"0123456789abcde\n" * (KEPT_OUTPUT // 16))
    await states(site.machine, site.layout)
    assert output.stat().st_size == 0
    assert (output.parent / "output.1").stat().st_size == KEPT_OUTPUT // 4
    await stop(site.machine, site.layout, "SN-1")
    assert (await log(site.machine, site.layout, "SN-1", most=40)).endswith("abcde\nstopped\n")


async def test_what_a_swop_has_started_goes_on_without_it(site: Site) -> None:
    await put(site, SWOP)
    script = Path(site.layout.node("SWOP-1")) / "run.sh"
    script.write_text('cd "${0%/*}"\nsleep 4715 &\necho $! > pair\necho {} > ready\nexec sleep 4716\n')
    await start(site.machine, site.layout, "SWOP-1", site.how)
    await stop(site.machine, site.layout, "SWOP-1")
    pair = (script.parent / "pair").read_text().strip()
    assert (await site.machine.run('kill -TERM "$1" && echo it ran', pair)).text == "it ran\n"


async def test_a_number_that_another_process_has_got_is_not_taken_for_the_node(tmp_path: Path) -> None:
    layout, machine = Layout(str(tmp_path / "swarm")), LocalMachine()
    standin_swarm(Path(layout.prefix))
    site = Site(machine, layout, "detached")
    await put(site, SN)
    await start(machine, layout, "SN-1", "detached")
    process = Path(layout.node("SN-1")) / "pid"
    number, begun = process.read_text().split()
    process.write_text(f"{os.getpid()} {begun}\n")
    assert await state(site) == [("sn-1", "ended", "detached")]
    await stop(machine, layout, "SN-1")  # and does not end us
    os.kill(int(number), signal.SIGTERM)


@pytest.mark.parametrize(
    "line", ["garbage", "sn-1 running", "../x running detached 0.1.0 {}", "sn-1 flying detached 0.1.0 {}"]
)
async def test_a_hostile_host_s_states_are_left_out(line: str, tmp_path: Path) -> None:
    class Hostile(LocalMachine):
        async def run(self, script: str, *words: str, seconds: float = 0.0, most: int = 0, secret: str = "") -> Ran:
            return Ran(0, f'{line}\nsn-2 running detached ../../x {{"api": "\\u001b[31m"}}\n'.encode(), "")

    found = await states(Hostile(), Layout(str(tmp_path)))
    assert [each.name for each in found] == ["sn-2"]
    assert "\x1b" not in found[0].report["api"]
    assert found[0].version == ""  # it becomes part of a path
