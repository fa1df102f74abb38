"""A run's final model from a host where a site keeps it, over a real sshd: the ledger's one, and no other."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.ledgerui import LedgerFeed, LedgerUi, Visitor, ledger_ui
from support.network import CONTRACT, Ledger
from support.rounds import finish, three_sites
from support.sshd import USER, SshHost
from support.tools import needs
from support.uirecords import recorder_of, recording
from swarmlearning.sl.results import file_stem
from swarmlearning.tensors.digest import digest_file
from swarmlearning.ui.hosts import models
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.local import LocalMachine
from swarmlearning.ui.hosts.machine import MachineError, Received
from swarmlearning.ui.hosts.models import FOLDER, MOST_KEPT, _keep, _taken, fetched, kept
from swarmlearning.ui.hosts.progress import silent
from swarmlearning.ui.hosts.seeing import Sight
from swarmlearning.ui.hosts.ssh import look
from swarmlearning.ui.hosts.works import Target
from swarmlearning.ui.jobs.views import JobView

RUN = f"{CONTRACT}/1"
MODEL = os.urandom(3_000_000)
PAIR = "projects/mnist/nodes/swop-1/process/attempts/ab/0/data/results"


class Desk:
    """An operator of a UI that knows a run, and a host in its list, whose product's folder is `prefix`."""

    def __init__(self, ui: LedgerUi, visitor: Visitor, host: SshHost, prefix: Path) -> None:
        self.ui, self.visitor, self.host, self.prefix = ui, visitor, host, prefix

    def keeps(self, model: bytes, folder: str = PAIR) -> None:
        """A site on the host keeps this as the final model of the run."""
        path = self.prefix / folder / f"{file_stem(CONTRACT, 1)}.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(model)

    async def fetched(self) -> JobView:
        """The job that fetches the model, once it has ended."""
        key = self.host.login.key.reveal()
        await self.visitor.does("/experiments/fetch", run=RUN, host=str(self.host.address), user=USER, key=key)
        return await self.ui.site.jobs.ended(self.ui.site.jobs.all()[0].id)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    path = tmp_path_factory.mktemp("model") / "model"
    path.write_bytes(MODEL)
    made = three_sites()
    made.join("op-1", "SWCI")
    finish(made, digest_file(path).root)
    return made


@pytest.fixture
async def desk(host: SshHost, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    prefix = tmp_path / "swarm"
    monkeypatch.setattr(LedgerFeed, "organisation", "org-1", raising=False)
    async with ledger_ui(tmp_path / "ui", ledger) as ui, ui.visitor("operator") as visitor:
        recording(ui, recorder_of(ledger))
        await ui.site.hosts.add([host.address], str(prefix), USER, "", "ada")
        await ui.site.host_keys.pin(host.address, await look(host.address))
        yield Desk(ui, visitor, host, prefix)


@needs("sshd")
async def test_the_model_that_the_ledger_names_is_fetched_and_downloaded(desk: Desk) -> None:
    desk.keeps(b"another one", "nodes/sl-1/data/results")
    desk.keeps(MODEL)
    page = await desk.visitor.page(f"/experiments/{RUN}")
    assert "/experiments/fetch" in page
    job = await desk.fetched()
    assert (job.state, job.to) == ("done", f"/experiments/{RUN}"), job
    answer = await desk.visitor.get(f"/experiments/model?run={RUN}")
    assert answer.content == MODEL
    assert "/experiments/model" in await desk.visitor.page(f"/experiments/{RUN}")


@needs("sshd")
async def test_a_model_that_the_ledger_gives_others_only_is_neither_fetched_nor_handed_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.keeps(MODEL)
    assert (await desk.fetched()).state == "done"
    monkeypatch.setattr(LedgerFeed, "organisation", "org-2", raising=False)
    page = await desk.visitor.page(f"/experiments/{RUN}")
    assert "is not for your organisation" in page
    assert "/experiments/fetch" not in page
    assert "/experiments/model" not in page
    assert (await desk.visitor.get(f"/experiments/model?run={RUN}")).status_code == 403
    host = str(desk.host.address)
    assert "not for your organisation" in await desk.visitor.fails("/experiments/fetch", run=RUN, host=host)


class Stalling(LocalMachine):
    """A host that sends the beginning of something else, waits until `others` is set, and goes on."""

    def __init__(self, begun: asyncio.Event, others: asyncio.Event) -> None:
        self._begun, self._others = begun, others

    async def receive(self, source: str, target: Path, most: int, told: Received) -> None:
        with target.open("wb") as file:
            file.write(b"evil")
            file.flush()
            self._begun.set()
            await self._others.wait()
            file.write(b"more")


async def test_a_host_that_sends_slowly_cannot_write_into_what_another_has_sent(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "models"
    source.write_bytes(MODEL)
    digest = digest_file(source).root
    begun, others = asyncio.Event(), asyncio.Event()
    slow = asyncio.create_task(_taken(Stalling(begun, others), str(source), digest, folder, silent))
    await begun.wait()
    assert await _taken(LocalMachine(), str(source), digest, folder, silent)
    others.set()
    assert not await slow
    assert [each.name for each in folder.iterdir()] == [f"{digest}.safetensors"]
    assert (folder / f"{digest}.safetensors").read_bytes() == MODEL


async def test_a_host_that_goes_on_sending_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it has sixteen of them, each of many gigabytes."""
    monkeypatch.setattr(models, "FETCH_SECONDS", 0.2)
    machine = Stalling(asyncio.Event(), asyncio.Event())
    (tmp_path / "nodes/sl-1/results").mkdir(parents=True)
    (tmp_path / "nodes/sl-1/results/m-1.safetensors").touch()

    async def seen(_sight: Sight) -> None: ...

    target = Target(Layout(str(tmp_path)), lambda: nullcontext(machine), seen)
    with pytest.raises(MachineError, match="the model has not arrived within 0 s"):
        await fetched(target, "m-1", "digest", tmp_path / "models")(silent)
    assert list((tmp_path / "models").iterdir()) == []


async def test_models_that_come_at_a_time_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, folder = tmp_path / "source", tmp_path / "models"
    source.write_bytes(MODEL)
    free = iter([models.SPARED + len(MODEL), models.SPARED - 1])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    with pytest.raises(MachineError, match="models: less than 1 GiB of the disk are free"):
        await _taken(LocalMachine(), str(source), digest_file(source).root, folder, silent)
    assert list(folder.iterdir()) == []


@needs("sshd")
async def test_what_is_another_model_is_not_taken(desk: Desk) -> None:
    missing = await desk.fetched()
    assert "no site keeps the final model" in missing.hosts[0].detail
    desk.keeps(MODEL[:-1] + b"x")
    job = await desk.fetched()
    assert job.state == "failed"
    assert "1 of that name have other digests" in job.hosts[0].detail
    folder = desk.ui.site.settings.folder / FOLDER
    assert list(folder.iterdir()) == []
    async with desk.ui.visitor("viewer") as viewer:
        assert "/experiments/fetch" not in await viewer.page(f"/experiments/{RUN}")
        assert (await viewer.post("/experiments/fetch", run=RUN, host="x")).status_code == 403


async def test_this_machine_gives_files_up_to_a_size(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(MODEL)
    told: list[tuple[int, int]] = []
    await LocalMachine().receive(str(source), target, len(MODEL), lambda done, total: told.append((done, total)))
    assert (target.read_bytes(), told[-1]) == (MODEL, (len(MODEL), len(MODEL)))
    with pytest.raises(MachineError, match="are the most"):
        await LocalMachine().receive(str(source), target, 10, lambda done, total: None)
    with pytest.raises(MachineError, match="No such file"):
        await LocalMachine().receive(str(tmp_path / "none"), target, 10, lambda done, total: None)


def test_the_last_models_are_kept(tmp_path: Path) -> None:
    for number in range(MOST_KEPT + 2):
        part = tmp_path / "part"
        part.write_bytes(b"model")
        os.utime(part, ns=(number, number))
        _keep(part, tmp_path / f"{number}.safetensors")
    assert [kept(tmp_path, str(number)) is not None for number in range(MOST_KEPT + 2)] == [False, False, *[True] * 4]
    assert kept(tmp_path, "") is None
