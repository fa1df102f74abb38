"""The page Hosts over a real sshd: from an address to nodes that run there, and back to nothing."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.bundles import make_bundle
from support.ports import fixed_port
from support.sshd import PASSWORD, USER, SshHost
from support.tools import needs
from support.uiapp import App, Somebody, ui_app
from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.nodes import NodeSpec
from swarmlearning.ui.hosts.running import place
from swarmlearning.ui.hosts.secretbox import SecretBox
from swarmlearning.ui.hosts.ssh import connected
from swarmlearning.ui.jobs.views import JobView

pytestmark = needs("sshd")

SN = NodeSpec(name="SN-1", flags=("sentinel",))
JSON = {"accept": "application/json"}
BOX = SecretBox("a key that is long enough")


class Desk:
    """Somebody who works on hosts, through the application."""

    def __init__(self, app: App, person: Somebody) -> None:
        self.app, self.person = app, person

    async def job(self, path: str, key_file: str = "", **form: Any) -> JobView:
        """The job that an act begins, once it has ended; `key_file` is uploaded."""
        files = {"key_file": ("id_ed25519", key_file.encode())} if key_file else None
        token = {**JSON, "x-csrf-token": self.person.csrf}
        answer = await self.person.post(path, data=form, files=files, headers=token)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        found = re.fullmatch(r"/jobs/(\d+)", answer.headers["location"])
        assert found, answer.headers
        return await self.app.site.jobs.ended(int(found[1]))

    async def done(self, path: str, **form: Any) -> JobView:
        """The same for one that succeeds."""
        job = await self.job(path, **form)
        assert job.state == "done", job
        return job

    async def fails(self, path: str, **form: Any) -> str:
        """Why an act is refused."""
        answer = await self.person.act(path, JSON, **form)
        assert answer.status_code == 409, f"{path}: {answer.status_code} {answer.text}"
        return str(answer.json()["text"])

    async def data(self, path: str) -> Any:
        answer = await self.person.get(path, headers=JSON)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def add(self, *hosts: SshHost) -> list[str]:
        """Adds hosts, and confirms their keys; returns their addresses."""
        named = [str(each.address) for each in hosts]
        await self.done("/hosts/add", addresses=", ".join(named), folder=hosts[0].prefix, user=USER)
        shown = {each["address"]: each["shown"]["fingerprint"] for each in (await self.data("/hosts/keys"))["shown"]}
        answer = await self.person.act("/hosts/keys/confirm", JSON, shown=[f"{each} {shown[each]}" for each in named])
        assert answer.status_code == 200, answer.text
        return named


@asynccontextmanager
async def desk(folder: Path, box: SecretBox | None = None) -> AsyncIterator[Desk]:
    folder.mkdir(exist_ok=True)
    async with ui_app(folder, secrets=box) as app:
        yield Desk(app, await app.someone("admin"))


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[SshHost]:
    with SshHost(tmp_path / "bare", python=False) as started:
        yield started


def files(folder: Path) -> bytes:
    """All that the UI has written, but for the bundle."""
    return b"".join(each.read_bytes() for each in folder.iterdir() if each.is_file())


async def test_from_an_address_to_a_node_and_back(host: SshHost, tmp_path: Path, pip: Path) -> None:
    make_bundle(tmp_path / "ui" / "bundle", "0.1.0", pip)
    key, at = host.login.key.reveal(), str(host.address)
    async with desk(tmp_path / "ui", BOX) as one:
        asked = await one.done("/hosts/add", addresses=at, folder=host.prefix, user=USER, note="west <wing>")
        fingerprint = (await one.data("/hosts/keys"))["shown"][0]["shown"]["fingerprint"]
        assert (asked.to, asked.hosts[0].detail) == ("/hosts/keys", f"ssh-ed25519 {fingerprint}")
        assert fingerprint in (await one.person.page("/hosts/keys")).text
        assert "compare it again" in await one.fails("/hosts/keys/confirm", shown=f"{at} SHA256:something")

        looked = await one.done("/hosts/keys/confirm", shown=f"{at} {fingerprint}", key=key, keep="yes")
        assert (looked.title, looked.to) == ("jobs.look", f"/hosts/{at}")
        page = (await one.person.page(f"/hosts/{at}")).text
        assert "west &lt;wing&gt;" in page
        assert "confirmed by admin" in page.lower()
        assert "a login is kept here" in page
        found = await one.data(f"/hosts/{at}")
        assert found["host"]["seen"]["facts"]["cores"] > 0
        assert [each for each in found["remarks"] if each["weight"] == "fault"] == []

        installed = await one.done("/hosts/install", host=at)  # by the login that is kept
        assert installed.values == {"hosts": at, "version": "0.1.0"}
        assert {each.name for each in installed.hosts[0].steps} >= {"bundle", "check", "copy", "install"}
        assert (await one.data("/hosts"))["hosts"][0]["version"] == "0.1.0"

        async with connected(host.address, host.login, one.app.site.host_keys) as machine:
            await place(machine, layout := Layout(host.prefix), SN.runs(layout))
        await one.done("/hosts/look", host=at)
        assert "ended" in (await one.person.page("/hosts")).text
        await one.done("/hosts/start", node=f"{at} SN-1")
        assert [each["state"] for each in (await one.data("/hosts"))["hosts"][0]["nodes"]] == ["running"]
        output = (await one.person.page(f"/hosts/{at}/output?node=SN-1")).text
        assert "0.1.0 as sn --sentinel" in output
        await one.done("/hosts/stop", node=f"{at} SN-1")
        assert [each["state"] for each in (await one.data("/hosts"))["hosts"][0]["nodes"]] == ["stopped"]

        assert "Type" in await one.fails("/hosts/uninstall", host=at, data="yes", again="something")
        assert Path(host.prefix, "current").exists()
        await one.done("/hosts/uninstall", host=at)
        assert Path(host.prefix, "nodes").exists()
        await one.done("/hosts/uninstall", host=at, data="yes", again=at)
        assert not Path(host.prefix).exists()
        assert (await one.data("/hosts"))["hosts"][0]["nodes"] == []

        assert key.splitlines()[1].encode() not in files(tmp_path / "ui")
        await one.person.act("/hosts/forget-login", host=at)
        assert "none is kept" in await one.fails("/hosts/look", host=at)
        await one.person.act("/hosts/remove", host=at)
        assert (await one.data("/hosts"))["hosts"] == []
        assert (await one.person.get(f"/hosts/{at}")).status_code == 404


@needs("root")
async def test_many_hosts_with_one_login_which_is_not_kept(host: SshHost, bare: SshHost, tmp_path: Path) -> None:
    """One has no Python, and one does not answer; this keeps nobody from the third."""
    async with desk(tmp_path / "ui") as one:
        both = await one.add(host, bare)
        gone = f"127.0.0.1:{fixed_port()}"
        asked = await one.job("/hosts/add", addresses=gone, folder=host.prefix)
        assert asked.state == "failed"
        assert "no SSH connection" in asked.hosts[0].detail
        assert (await one.data("/hosts/keys"))["silent"] == [gone]
        assert "SLM_UI_SECRETS_KEY" in await one.fails("/hosts/look", host=both, password=PASSWORD, keep="yes")
        looked = await one.done("/hosts/look", host=both, password=PASSWORD)
        assert "Python 3.11 or later is needed" in looked.hosts[1].detail
        page = (await one.person.page(f"/hosts/{both[1]}")).text
        assert "Nothing was copied." in page
        assert "in the way: 1" in (await one.person.page("/hosts")).text
        assert (await one.person.page(f"/hosts/{both[1]}", headers={"accept-language": "de"})).text.count("Hindernis")
        wrong = await one.job("/hosts/look", host=both, password="something else")
        assert wrong.state == "failed"
        assert "does not let" in wrong.hosts[0].detail
        assert PASSWORD.encode() not in files(tmp_path / "ui")
        assert not any(each["keeps_login"] for each in (await one.data("/hosts"))["hosts"])


@needs("root")
async def test_nothing_is_copied_to_a_host_without_python(bare: SshHost, tmp_path: Path, pip: Path) -> None:
    make_bundle(tmp_path / "ui" / "bundle", "0.1.0", pip)
    async with desk(tmp_path / "ui") as one:
        (at,) = await one.add(bare)
        job = await one.job("/hosts/install", host=at, password=PASSWORD)
        assert job.state == "failed"
        assert "Nothing was copied" in job.hosts[0].detail
        assert not Path(bare.prefix).exists()


async def test_a_host_with_another_key_gets_nothing_until_an_admin_forgets_the_old_one(tmp_path: Path) -> None:
    with SshHost(tmp_path / "host") as moved:
        async with desk(tmp_path / "ui") as one:
            (at,) = await one.add(moved)
            moved.stop()
            moved.change_key()
            moved.start()
            job = await one.job("/hosts/look", host=at, key=moved.login.key.reveal())
            assert job.state == "failed"
            assert "nothing was sent to it" in job.hosts[0].detail
            shown = (await one.data("/hosts/keys"))["shown"][0]
            page = (await one.person.page("/hosts/keys")).text
            assert all(shown[each]["fingerprint"] in page for each in ("pinned", "shown"))
            new = f"{at} {shown['shown']['fingerprint']}"
            assert "shows another host key" in await one.fails("/hosts/keys/confirm", shown=new)
            operator = await one.app.someone("operator")
            assert (await operator.act("/hosts/keys/forget", host=at)).status_code == 403
            await one.person.act("/hosts/keys/forget", host=at)
            answer = await one.person.act("/hosts/keys/confirm", JSON, shown=new)
            assert answer.status_code == 200
            await one.done("/hosts/look", host=at, key_file=moved.login.key.reveal())
            photo = await one.job("/hosts/look", host=at, key_file="\0\xff" * 40_000)
            assert "is none in OpenSSH's or PEM form" in photo.hosts[0].detail


async def test_what_cannot_be_done_says_why(tmp_path: Path) -> None:
    async with desk(tmp_path / "ui") as one:
        assert "No hosts yet" in (await one.person.page("/hosts")).text
        assert "There is no bundle yet" in (await one.person.page("/hosts")).text
        assert "is no port" in await one.fails("/hosts/add", addresses="a:b", folder="/srv/x")
        assert "absolute path" in await one.fails("/hosts/add", addresses="a", folder="x")
        assert "No host is selected" in await one.fails("/hosts/look", password="x")
        assert "No node is selected" in await one.fails("/hosts/start", password="x")
        assert "No key is selected" in await one.fails("/hosts/keys/confirm")
        assert "are confirmed" in await one.fails("/hosts/keys/ask")
        assert "no bundle" in await one.fails("/hosts/install", host="10.0.0.1", password="x")
        await one.app.site.hosts.add([Address("10.0.0.1", 22)], "/srv/x", "", "", "anna")
        assert "has shown no key yet" in await one.fails("/hosts/keys/confirm", shown="10.0.0.1 SHA256:x")
        assert "name the user" in await one.fails("/hosts/look", host="10.0.0.1", password="x")
        assert "no name of a node" in await one.fails("/hosts/start", node="10.0.0.1 ../x", password="x")
        assert "/srv/x" in (await one.person.page("/hosts/10.0.0.1")).text
        await one.person.act("/hosts/change", host="10.0.0.1", folder="/srv/y", user="swarm", note="east")
        assert (await one.data("/hosts/10.0.0.1"))["host"]["folder"] == "/srv/y"
        assert (await one.person.get("/hosts/10.0.0.1/output?node=SN-1")).status_code == 404
        assert (await one.person.get("/hosts/10.0.0.9")).status_code == 404


def stated(folder: Path, version: str) -> None:
    """A bundle as far as its list."""
    folder.mkdir(parents=True)
    wheel = f"wheels/swarmlearning-{version}-py3-none-any.whl"
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  {wheel}\n")


async def test_of_several_versions_the_newest_is_the_default_until_an_admin_says_otherwise(tmp_path: Path) -> None:
    for version in ("0.9.0", "0.10.0rc1", "0.10.0"):
        stated(tmp_path / "ui" / "bundle" / version, version)
    (tmp_path / "ui" / "bundle" / "notes").mkdir()
    async with desk(tmp_path / "ui") as one:
        found = (await one.data("/settings"))["bundle"]
        assert [each["version"] for each in found["all"]] == ["0.10.0", "0.10.0rc1", "0.9.0"]
        assert found["name"] == "0.10.0"
        await one.app.site.hosts.add([Address("10.0.0.1", 22)], "/srv/x", "", "", "anna")
        assert (await one.person.act("/settings/version", bundle="0.9.0")).status_code == 303
        assert "no bundle ../x any more" in await one.fails("/settings/version", bundle="../x")
        assert (await one.data("/hosts"))["bundle"]["version"] == "0.9.0"
        assert "Make version 0.10.0 the default" in (await one.person.page("/settings")).text
        assert '<option value="0.9.0" selected>' in (await one.person.page("/hosts")).text


async def test_a_viewer_sees_hosts_and_does_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path / "ui") as one:
        await one.app.site.hosts.add([Address("10.0.0.1", 22)], "/srv/x", "", "", "anna")
        viewer = await one.app.someone("viewer")
        for path in ("/hosts", "/hosts/10.0.0.1", "/hosts/keys"):
            page = (await viewer.page(path)).text
            assert "10.0.0.1" in page
            assert "multipart" not in page
            assert "/hosts/add" not in page
        assert (await viewer.get("/hosts/10.0.0.1/output?node=SN-1")).status_code == 403
        for path in ("add", "look", "install", "start", "stop", "remove", "change", "keys/confirm", "uninstall"):
            assert (await viewer.act(f"/hosts/{path}", host="10.0.0.1")).status_code == 403
