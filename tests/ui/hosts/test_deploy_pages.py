"""A project is carried out over a real sshd, through the application: first, again, changed, and by halves."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.bundles import standin_swarm
from support.ports import fixed_port
from support.sshd import USER, SshHost
from support.tools import needs
from support.uiapp import App, Somebody, ui_app
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.running import stop
from swarmlearning.ui.hosts.ssh import connected, look
from swarmlearning.ui.jobs.views import JobView
from swarmlearning.ui.projects.deployed import DeployedHost
from swarmlearning.ui.projects.settings import HostPlace, ProjectNode

pytestmark = needs("sshd")

JSON = {"accept": "application/json"}
AT = "/projects/mnist/deploy"
WORD = "a passphrase of ours"
SN = ProjectNode("SN-1", "sn", "hub", founds=True)
SL = ProjectNode("SL-1", "sl", "hub", script=("python3", "<PROJECT-MODEL>/train.py"))


class Desk:
    """An operator with a project for one host, which is in the list with its key confirmed."""

    def __init__(self, app: App, person: Somebody, host: SshHost, prefix: Path) -> None:
        self.app, self.person, self.host, self.prefix = app, person, host, prefix

    async def post(self, act: str, *, login: bool = True, **form: Any) -> Any:
        key = {"user": USER, "key": self.host.login.key.reveal()} if login else {}
        token = {**JSON, "x-csrf-token": self.person.csrf}
        return await self.person.post(f"{AT}/{act}", data={**key, **form}, headers=token)

    async def job(self, act: str, **form: Any) -> JobView:
        """The job that an act begins, once it has ended."""
        answer = await self.post(act, **form)
        assert answer.status_code == 200, answer.text
        found = re.fullmatch(r"/jobs/(\d+)", answer.headers["location"])
        assert found
        return await self.app.site.jobs.ended(int(found[1]))

    async def done(self, act: str, **form: Any) -> JobView:
        job = await self.job(act, **form)
        assert job.state == "done", job
        return job

    async def fails(self, act: str, **form: Any) -> str:
        answer = await self.post(act, **form)
        assert answer.status_code == 409, answer.text
        return str(answer.json()["text"])

    async def view(self) -> Any:
        answer = await self.person.get(f"{AT}.json", headers=JSON)
        assert answer.status_code == 200, answer.text
        assert "mnist" in (await self.person.page(AT)).text
        return answer.json()

    async def states(self) -> dict[str, str]:
        return {each["name"]: each["process"] for each in (await self.view())["nodes"]}

    def plans(self, *nodes: ProjectNode) -> None:
        """The project has these nodes."""
        self.app.site.projects.alter("mnist", lambda known: msgspec.structs.replace(known, nodes=nodes))

    def placed(self, name: str) -> Path:
        return self.prefix / "projects/mnist" / name

    def wrote(self, node: str) -> str:
        """All that a node has written."""
        return (self.prefix / "nodes" / node / "output").read_text()


@pytest.fixture
async def desk(host: SshHost, tmp_path: Path) -> AsyncIterator[Desk]:
    folder, prefix = tmp_path / "ui", tmp_path / "swarm"
    folder.mkdir()
    standin_swarm(prefix)
    async with ui_app(folder) as app:
        site = app.site
        await site.hosts.add([host.address], str(prefix), USER, "", "ada")
        await site.host_keys.pin(host.address, await look(host.address))
        site.projects.create("mnist", "ada")
        (site.projects.root / "mnist/model/train.py").write_bytes(b"print()\n")
        place = HostPlace("hub", host.address.host, str(prefix))
        site.projects.alter("mnist", lambda known: msgspec.structs.replace(known, hosts=(place,), nodes=(SN, SL)))
        yield Desk(app, await app.someone("operator"), host, prefix)
        async with connected(host.address, host.login, site.host_keys) as machine:
            for name in ("SL-1", "SN-1"):
                await stop(machine, Layout(str(prefix)), name)


async def test_a_plan_is_carried_out_and_repeated_and_only_what_has_changed_is_touched(desk: Desk) -> None:
    first = await desk.view()
    assert (first["first"], first["authority"], first["hosts"][0]["fault"]) == (True, "new", "")
    assert [each["what"] for each in first["hosts"][0]["changes"]] == ["new-node", "new-node", "new-file"]
    job = await desk.done("carry-out", organisation="north", word=WORD)
    assert (job.title, job.values, job.to) == ("jobs.deploy", {"project": "mnist"}, AT)
    assert desk.placed("model/train.py").read_bytes() == b"print()\n"
    assert await desk.states() == {"SN-1": "running", "SL-1": "running"}
    authority = (desk.app.site.settings.folder / "office/ca/capath/north-cert.pem").read_bytes()
    assert authority in [each.read_bytes() for each in desk.placed("cacerts").iterdir()]
    for each in desk.app.site.settings.folder.rglob("*"):
        assert not each.is_file() or WORD.encode() not in each.read_bytes(), each

    again = await desk.view()
    assert [each["what"] for each in again["hosts"][0]["changes"]] == ["same-node", "same-node"]
    assert (again["first"], again["authority"]) == (False, "here")
    await desk.done("carry-out")  # all have their certificates: nobody has to sign
    assert desk.wrote("sn-1").count(" as sn ") == desk.wrote("sl-1").count(" as sl ") == 1

    desk.plans(SN, msgspec.structs.replace(SL, more=("--log-level", "DEBUG")))
    assert [each["what"] for each in (await desk.view())["hosts"][0]["changes"]] == ["same-node", "changed-node"]
    await desk.done("carry-out")
    assert (desk.wrote("sn-1").count(" as sn "), desk.wrote("sl-1").count(" as sl ")) == (1, 2)
    assert desk.wrote("sl-1").count("stopped") == 1

    desk.plans(SN)
    assert ["SL-1", True] in [[each["name"], each["gone"]] for each in (await desk.view())["nodes"]]
    await desk.done("carry-out")
    assert "SL-1" not in await desk.states()
    assert desk.wrote("sl-1").count("stopped") == 2
    assert desk.placed("certs/sl-1-cert.pem").exists()


async def test_nodes_of_a_host_that_leaves_are_stopped_before_they_start_elsewhere(desk: Desk) -> None:
    await desk.done("carry-out", organisation="north", word=WORD)
    new = HostPlace("annex", desk.host.address.host, str(desk.prefix))
    nodes = tuple(msgspec.structs.replace(each, host="annex") for each in (SN, SL))
    desk.app.site.projects.alter("mnist", lambda known: msgspec.structs.replace(known, hosts=(new,), nodes=nodes))
    view = await desk.view()
    assert [(each["place"]["name"], each["left"]) for each in view["hosts"]] == [("annex", False), ("hub", True)]
    assert [each["what"] for each in view["hosts"][1]["changes"]][:2] == ["gone-node", "gone-node"]
    assert [(each["name"], each["host"], each["gone"]) for each in view["nodes"]] == [
        ("SN-1", "annex", False),
        ("SL-1", "annex", False),
        ("SN-1", "hub", True),
        ("SL-1", "hub", True),
    ]
    assert "To be stopped by this deployment: SN-1, SL-1" in (await desk.person.page(AT)).text
    await desk.done("carry-out")
    for node, kind in (("sn-1", "sn"), ("sl-1", "sl")):
        words = [line for line in desk.wrote(node).splitlines() if f" as {kind} " in line or "stopped" in line]
        assert ["stopped" in line for line in words] == [False, True, False], desk.wrote(node)
    assert list(desk.app.site.projects.deployed("mnist")) == ["annex"]
    assert await desk.states() == {"SN-1": "running", "SL-1": "running"}


async def test_a_host_that_is_gone_for_good_keeps_nothing_from_going_on_and_can_be_forgotten(desk: Desk) -> None:
    lost = DeployedHost(1, "ada", "10.9.9.9", "/opt/swarm", {}, {"SL-7": "swarm sl"})
    desk.app.site.projects.set_deployed("mnist", "cellar", lost)
    page = (await desk.person.page(AT)).text
    assert "so these go on running: SL-7" in page
    assert "Forget host cellar" in page
    await desk.done("carry-out", organisation="north", word=WORD)
    assert set(desk.app.site.projects.deployed("mnist")) == {"hub", "cellar"}
    assert "is no host that has left" in await desk.fails("forget", host="hub")
    assert (await desk.post("forget", host="cellar")).status_code == 200
    assert set(desk.app.site.projects.deployed("mnist")) == {"hub"}


async def test_without_an_organisation_the_page_says_where_to_begin(desk: Desk) -> None:
    joining = (msgspec.structs.replace(each, founds=False, join="10.0.0.1:30304") for each in (SN, SL))
    desk.plans(*joining)
    page = (await desk.person.page(AT)).text
    assert "belongs to no organisation yet" in page
    assert "authority of –" not in page
    assert "No certificate of your organisation" in await desk.fails("carry-out")


async def test_chosen_nodes_are_stopped_and_started(desk: Desk) -> None:
    await desk.done("carry-out", organisation="north", word=WORD)
    await desk.done("stop", node=["hub SL-1", "hub SN-1"])
    assert await desk.states() == {"SN-1": "stopped", "SL-1": "stopped"}
    await desk.done("start", node="hub SN-1")
    assert await desk.states() == {"SN-1": "running", "SL-1": "stopped"}
    assert "has no node" in await desk.fails("stop", node="hub SN-9")
    assert "No node is chosen" in await desk.fails("stop")


async def test_what_is_in_the_way_is_said_before_anything_is_done(desk: Desk) -> None:
    assert "Enter a passphrase" in await desk.fails("carry-out", organisation="north")
    assert "Name your organisation" in await desk.fails("carry-out", word=WORD)
    assert "12 characters" in await desk.fails("carry-out", organisation="north", word="short")
    assert "login" in (await desk.fails("carry-out", login=False, organisation="north", word=WORD)).lower()
    projects = desk.app.site.projects
    elsewhere = HostPlace("hub", desk.host.address.host, "/opt/another")
    projects.alter("mnist", lambda known: msgspec.structs.replace(known, hosts=(elsewhere,)))
    assert "another folder" in await desk.fails("carry-out", organisation="north", word=WORD)
    unknown = HostPlace("hub", "10.9.9.9", str(desk.prefix))
    projects.alter("mnist", lambda known: msgspec.structs.replace(known, hosts=(unknown,)))
    assert "on the page Hosts first" in await desk.fails("carry-out", organisation="north", word=WORD)
    assert (await desk.view())["hosts"][0]["fault"] == "unlisted"
    projects.alter("mnist", lambda known: msgspec.structs.replace(known, hosts=(unknown,), nodes=(SL,)))
    assert "no SN is known to join by" in await desk.fails("carry-out", word=WORD)
    assert desk.app.site.jobs.all() == []
    assert not desk.placed("").exists()


async def test_a_node_that_does_not_start_says_why_and_another_passphrase_signs_nothing(desk: Desk) -> None:
    standin_swarm(desk.prefix, "0.1.0", "broken")
    failed = await desk.job("carry-out", organisation="north", word=WORD)
    assert failed.state == "failed"
    assert "this version does not start" in failed.hosts[0].detail
    standin_swarm(desk.prefix)
    assert await desk.fails("carry-out", word="another passphrase", organisation="north")
    assert (await desk.view())["hosts"][0]["deployed"] is None
    await desk.done("carry-out", organisation="north")
    assert await desk.states() == {"SN-1": "running", "SL-1": "running"}


async def test_a_real_network_is_founded_and_joined_by_what_the_page_deploys(desk: Desk) -> None:
    standin_swarm(desk.prefix, "0.1.0", "real")
    ports = {name: fixed_port() for name in ("api_port", "p2p_port", "join_port")}
    sn = msgspec.structs.replace(SN, **ports, more=("--ordering", "local"))
    desk.plans(sn, msgspec.structs.replace(SL, fs_port=fixed_port()))
    (desk.app.site.projects.root / "mnist/model/train.py").write_bytes(b"import time\ntime.sleep(600)\n")
    await desk.done("carry-out", organisation="north", word=WORD)
    assert await desk.states() == {"SN-1": "running", "SL-1": "running"}


async def test_viewers_see_and_do_not_act(desk: Desk) -> None:
    viewer = await desk.app.someone("viewer")
    assert "carry-out" not in (await viewer.page(AT)).text
    for act in ("carry-out", "start", "stop", "forget"):
        answer = await viewer.post(f"{AT}/{act}", headers={**JSON, "x-csrf-token": viewer.csrf})
        assert answer.status_code == 403
