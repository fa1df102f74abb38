"""A run on an MLflow server: a stand-in that speaks its REST API as far as it is used, and servers that do not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.mlflow import TOKEN, Standin, serving
from swarmlearning.errors import UserError
from swarmlearning.tracking.mlflow import BATCH, MOST_BYTES, MlflowRun, MlflowServer
from swarmlearning.tracking.tracker import Point, TrackerError

POINTS = [Point("site/loss", 3, 0.5, 1_700_000_000_000), Point("swarm/metric", 3, 0.75, 1_700_000_000_000)]


def run_at(address: str, folder: Path, variables: Mapping[str, str] | None = None) -> MlflowRun:
    server = MlflowServer(address, {"MLFLOW_TRACKING_TOKEN": TOKEN} if variables is None else variables)
    return MlflowRun(server, "chest", "SL-1, run 1", {"swarm.site": "SL-1"}, folder / "mlflow-chest-run1")


async def test_points_become_metrics_of_one_run_in_the_contract_s_experiment(tmp_path: Path) -> None:
    standin = Standin()
    async with serving(standin.answer) as address:
        run = run_at(address, tmp_path)
        await run.add(POINTS[:1])
        await run.add(POINTS[1:])
        await run.close(complete=True)
    assert standin.experiments == {"chest": "1"}
    ((made),) = standin.runs.values()
    assert (made["run_name"], made["tags"]) == ("SL-1, run 1", [{"key": "swarm.site", "value": "SL-1"}])
    assert made["status"] == "FINISHED"
    expected = [{"key": each.tag, "value": each.value, "timestamp": each.time_ms, "step": 3} for each in POINTS]
    assert standin.metrics == expected


async def test_a_run_is_described_by_parameters_and_those_of_an_earlier_start_stay(tmp_path: Path) -> None:
    standin = Standin()
    async with serving(standin.answer) as address:
        for value in ("8", "16"):
            run = run_at(address, tmp_path)
            await run.describe({"syncFrequency": value})
            await run.close(complete=False)
    assert standin.parameters == {"syncFrequency": "8"}


async def test_after_a_restart_the_same_run_goes_on_unless_the_server_has_lost_it(tmp_path: Path) -> None:
    standin = Standin()
    async with serving(standin.answer) as address:
        for _ in range(2):
            run = run_at(address, tmp_path)
            await run.add(POINTS)
            await run.close(complete=False)
        assert [each["status"] for each in standin.runs.values()] == ["RUNNING"]
        standin.runs = {"another": {}}
        run = run_at(address, tmp_path)
        await run.add(POINTS)
        await run.close(complete=False)
    assert len(standin.runs) == 2


async def test_two_sites_may_make_the_experiment_at_once(tmp_path: Path) -> None:
    standin = Standin()
    standin.experiments["chest"] = "7"
    standin.hides.add("chest")
    async with serving(standin.answer) as address:
        run = run_at(address, tmp_path)
        await run.add(POINTS)
        await run.close(complete=False)
    assert [each["experiment_id"] for each in standin.runs.values()] == ["7"]


async def test_many_points_go_in_as_many_requests_as_mlflow_demands(tmp_path: Path) -> None:
    standin = Standin()
    async with serving(standin.answer) as address:
        run = run_at(address, tmp_path)
        await run.add(POINTS[:1] * (2 * BATCH + 1))
        await run.close(complete=False)
    assert standin.calls.count("runs/log-batch") == 3


async def test_a_wrong_token_is_named_and_never_shown(tmp_path: Path) -> None:
    standin = Standin()
    async with serving(standin.answer) as address:
        run = run_at(address, tmp_path, {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "canary"})
        with pytest.raises(TrackerError, match=r"401.*check MLFLOW_TRACKING_TOKEN") as error:
            await run.add(POINTS)
        await run.close(complete=False)
    assert "canary" not in str(error.value)


async def _page(request: web.Request) -> web.Response:
    return web.Response(text="<html>", content_type="text/html")


async def _elsewhere(request: web.Request) -> web.Response:
    raise web.HTTPFound("http://127.0.0.1:1/")


async def _endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(MOST_BYTES // 65536 + 100):
        await answer.write(b" " * 65536)
    return answer


async def _odd(request: web.Request) -> web.Response:
    return web.json_response({"experiment": {"experiment_id": "../../etc"}, "experiment_id": 7, "run": []})


async def _compressed(request: web.Request) -> web.Response:
    return web.Response(body=b"is not", headers={"Content-Encoding": "gzip"})


async def _deep(request: web.Request) -> web.Response:
    return web.Response(text='{"experiment":' + "[" * 100_000)


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (_deep, "is it MLflow"),
        (_compressed, "does not answer: 400"),
        (_page, "is it MLflow"),
        (_elsewhere, "302"),
        (_endless, "longer than"),
        (_odd, "gives no experiment_id"),
    ],
)
async def test_a_server_that_is_not_mlflow_is_named(tmp_path: Path, handler: Any, said: str) -> None:
    async with serving(handler) as address:
        run = run_at(address, tmp_path)
        with pytest.raises(TrackerError, match=said) as error:
            await run.add(POINTS)
        await run.close(complete=True)
    assert str(error.value).isprintable(), "one line of a log, whatever the server sends"


async def test_a_server_that_is_away_is_named(tmp_path: Path) -> None:
    run = run_at("http://127.0.0.1:1", tmp_path)
    with pytest.raises(TrackerError, match=r"http://127\.0\.0\.1:1 does not answer"):
        await run.add(POINTS)
    await run.close(complete=True)


@pytest.mark.parametrize(
    "uri", ["", "mlflow", "ftp://a", "http://", "https://user:secret@host", "http://h/?x=1", "http://[", "file:///x"]
)
def test_what_is_no_address_of_a_server_is_refused_without_showing_it(uri: str) -> None:
    with pytest.raises(UserError, match="SL_MLFLOW_URI") as error:
        MlflowServer(uri, {})
    assert "secret" not in str(error.value)
