"""An archive of what lies on a host, over a real sshd, where there is no network at all."""

import tarfile
from pathlib import Path

from support.sshd import USER, SshHost
from support.tools import needs
from support.uiapp import ui_app
from swarmlearning.ui.access import GivenLogin
from swarmlearning.ui.diagnostics.collecting import Collector, Wish
from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.nodes import NodeSpec
from swarmlearning.ui.hosts.running import place
from swarmlearning.ui.hosts.ssh import connected, look

SECRET = "password=hunter2hunter2"


@needs("sshd")
async def test_a_hosts_facts_and_output_are_collected_and_one_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "ui").mkdir()
    with SshHost(tmp_path / "host") as host:
        async with ui_app(tmp_path / "ui") as app:
            site, gone = app.site, Address("127.0.0.1", 1)
            await site.hosts.add([host.address, gone], host.prefix, USER, "", "ada")
            for each in (host.address, gone):
                await site.host_keys.pin(each, await look(host.address))
            layout = Layout(host.prefix)
            async with connected(host.address, host.login, site.host_keys) as machine:
                await place(machine, layout, NodeSpec(name="SN-1", flags=("sentinel",)).runs(layout))
                await machine.put(f"it says \x1b[2J {SECRET}\n".encode(), f"{layout.node('SN-1')}/output", 0o600)
            given = GivenLogin(USER, key=host.login.key)
            targets = {each.address: await site.access.target(each, given) for each in await site.hosts.all()}
            collector = Collector(site.feed, site.archives, tmp_path / "ui", Wish(hosts=targets))
            job = site.jobs.start("diagnostics.job-collect", "ada", collector.job())
            ended = await site.jobs.ended(job.id)
            assert ended.state == "done", ended
            assert "Not in it: the ledger" in ended.hosts[0].detail
            said = {each.host: each.detail for each in ended.hosts}
            assert "Not given: all of it" in said[str(gone)]
            path = site.archives.path(collector.name)
            assert path is not None
            with tarfile.open(path) as tar:
                read = {each.name.partition("/")[2]: tar.extractfile(each) for each in tar}
                found = {name: file.read().decode() for name, file in read.items() if file is not None}
    (log,) = [text for name, text in found.items() if name.endswith("SN-1.log")]
    assert log.startswith("it says \\x1b[2J")
    assert "hunter2" not in "".join(found.values())
    assert any(name.endswith("host.json") for name in found)
