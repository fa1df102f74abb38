"""A run that is handed to an MLflow server: a stand-in, real connections, and the job of the UI that does it."""

from pathlib import Path

import pytest

from support.ledgerui import LedgerUi, ledger_ui
from support.mlflow import TOKEN, Standin, serving
from support.network import CONTRACT, Ledger
from support.rounds import SITES, finish, publish, report_all, submit, three_sites
from support.uirecords import recorder_of, recording
from swarmlearning.ui.jobs.views import JobView
from swarmlearning.ui.network.exporting import points
from swarmlearning.views.runcharts import run_charts

RUN = f"{CONTRACT}/1"


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    made = three_sites()
    made.join("op-1", "SWCI")
    submit(made, *SITES)
    publish(made, "1" * 64)
    report_all(made)
    finish(made)
    return made


async def exported(ui: LedgerUi, **fields: str) -> JobView:
    async with ui.visitor("operator") as visitor:
        await visitor.does("/experiments/export", run=RUN, **fields)
    return await ui.site.jobs.ended(ui.site.jobs.all()[0].id)


async def test_a_run_has_its_parameters_and_curves_there_also_a_second_time(tmp_path: Path, ledger: Ledger) -> None:
    standin = Standin()
    async with serving(standin.answer) as address, ledger_ui(tmp_path, ledger) as ui:
        recording(ui, recorder_of(ledger))
        for _ in range(2):
            job = await exported(ui, server=address, token=TOKEN)
            assert (job.state, job.hosts[0].host) == ("done", "127.0.0.1"), job
        assert TOKEN not in (tmp_path / "ui.sqlite").read_bytes().decode(errors="replace")
    assert list(standin.experiments) == [CONTRACT]
    (run,) = standin.runs.values()
    assert (run["run_name"], run["status"]) == ("run 1", "FINISHED")
    assert standin.parameters["min_peers"] == "2"
    assert {each["key"] for each in standin.metrics} >= {"loss", "epochs", "site-1/loss"}


async def test_a_server_that_lets_nobody_in_is_named_without_the_token(tmp_path: Path, ledger: Ledger) -> None:
    standin = Standin()
    async with serving(standin.answer) as address, ledger_ui(tmp_path, ledger) as ui:
        recording(ui, recorder_of(ledger))
        job = await exported(ui, server=address, token="another")
        assert job.state == "failed"
        assert "401" in job.hosts[0].detail
        async with ui.visitor("operator") as visitor:
            for wrong in ("ftp://x", "https://user:word@x", "nonsense"):
                assert "HOST" in await visitor.fails("/experiments/export", run=RUN, server=wrong)
        async with ui.visitor("viewer") as viewer:
            assert (await viewer.post("/experiments/export", run=RUN, server=address)).status_code == 403


def test_points_have_names_that_mlflow_takes(ledger: Ledger) -> None:
    charts = run_charts(recorder_of(ledger), CONTRACT, 1)
    tags = {each.tag for each in points(charts)}
    assert {"loss", "epochs", "site-1/loss"} <= tags
    assert all(tag.replace("/", "").replace("-", "").replace("_", "").isalnum() for tag in tags)
