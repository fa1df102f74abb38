"""The first set-up on this machine and on a host by SSH, whose key was confirmed before."""

import asyncio
import re
from pathlib import Path
from typing import Any

from support.bundles import make_bundle, standin_swarm
from support.setups import PASSPHRASE, free_ports
from support.sshd import USER, SshHost
from support.tools import needs
from support.uiapp import App, Somebody, ui_app
from swarmlearning.ui.hosts.bundle import Bundle
from swarmlearning.ui.hosts.hostkeys import MemoryHostKeys
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.local import LocalMachine
from swarmlearning.ui.hosts.machine import Machine
from swarmlearning.ui.hosts.running import states, stop
from swarmlearning.ui.hosts.ssh import connected
from swarmlearning.ui.setup.state import THIS

JSON = {"accept": "application/json"}


async def does(person: Somebody, path: str, **form: Any) -> str:
    """An act that succeeds; returns where it leads."""
    answer = await person.act(path, JSON, **form)
    assert answer.status_code == 200, f"{path}: {answer.text}"
    return str(answer.headers["location"])


async def fails(person: Somebody, path: str, **form: Any) -> str:
    answer = await person.act(path, JSON, **form)
    assert answer.status_code == 409, f"{path}: {answer.text}"
    return str(answer.json()["text"])


async def data(person: Somebody, path: str) -> Any:
    answer = await person.get(path, headers=JSON)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def stop_all(machine: Machine, layout: Layout) -> dict[str, str]:
    """Stops the nodes there; returns how they were."""
    found = await states(machine, layout)
    for each in found:
        role, _, rest = each.name.partition("-")
        await stop(machine, layout, f"{role.upper()}-{rest}", 20)
    return {each.name: each.state for each in found}


async def plan(app: App, person: Somebody, host: SshHost) -> None:
    """The steps before the review: a site here, and one at the host."""
    at = str(host.address)
    added = re.fullmatch(r"/jobs/(\d+)", await does(person, "/hosts/add", addresses=at, folder=host.prefix, user=USER))
    assert added
    await app.site.jobs.ended(int(added[1]))
    await does(person, "/setup/begin", way="found")
    await does(person, "/setup/organisation", organisation="north", passphrase=PASSPHRASE, again=PASSPHRASE)
    rows = {each["host"]["name"]: each for each in (await data(person, "/setup/hosts"))["hosts"]}
    assert [rows[each]["confirmed"] for each in (THIS, at)] == [True, False]
    prefix = str(app.site.stage.prefix)
    form = {"name": [THIS, at], "taken": [THIS, at], "address": ["127.0.0.1"] * 2, "prefix": [prefix, "/etc"]}
    assert "not confirmed" in await fails(person, "/setup/hosts", **form)
    fingerprint = (await data(person, "/hosts/keys"))["shown"][0]["shown"]["fingerprint"]
    await does(person, "/hosts/keys/confirm", shown=f"{at} {fingerprint}")
    await does(person, "/setup/hosts", **form)
    assert (await data(person, "/setup"))["setup"]["hosts"][1]["prefix"] == host.prefix
    sites = {"host": [THIS, at], "sites": ["1", "1"], "epochs": "2", "first": THIS, "network": "ours"}
    await does(person, "/setup/network", **sites, **free_ports())


@needs("sshd")
async def test_a_network_on_this_machine_and_a_host(
    host: SshHost, keys: MemoryHostKeys, tmp_path: Path, pip: Path
) -> None:
    folder, key = tmp_path / "ui", host.login.key.reveal()
    folder.mkdir()
    async with ui_app(folder) as app:
        person, here = await app.someone("admin"), Layout(app.site.stage.prefix)
        await plan(app, person, host)
        assert "is no bundle" in await fails(person, "/setup/install", ca_passphrase=PASSPHRASE, key=key)
        bundle = await asyncio.to_thread(make_bundle, folder / "bundle", "0.1.0", pip)
        standin_swarm(Path(host.prefix), Bundle.read(bundle).name, "real")
        assert "none is kept" in await fails(person, "/setup/install", ca_passphrase=PASSPHRASE)
        try:
            await does(person, "/setup/install", ca_passphrase=PASSPHRASE, key=key)
            job = await app.site.jobs.ended((await data(person, "/setup"))["setup"]["job"])
            assert job.state == "done", job
            assert (await data(person, "/setup"))["step"] == "summary"
            assert app.site.feed.configured
            shown = {each["name"]: each for each in (await data(person, "/setup/summary"))["nodes"]}
            assert shown["SL-north-2"]["state"] in ("running", "ended")  # as it was seen at the end
            assert job.started_ms <= shown["SL-north-2"]["seen_ms"] <= job.ended_ms
            assert shown["SN-north"]["seen_ms"] is None  # this machine is looked at now
        finally:
            on_this = await stop_all(LocalMachine(), here)
            async with connected(host.address, host.login, keys) as machine:
                there = await stop_all(machine, Layout(host.prefix))
        assert sorted(on_this) == ["sl-north-1", "sn-north"]
        assert sorted(there) == ["sl-north-2"]
        assert {*on_this.values(), *there.values()} <= {"running", "ended"}
        kept = b"".join(each.read_bytes() for each in folder.iterdir() if each.is_file())
        assert key.splitlines()[1].encode() not in kept
        assert PASSPHRASE.encode() not in kept
