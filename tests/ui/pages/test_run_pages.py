"""The pages Training and Experiments, whole: rendered from a ledger in memory for persons of each role, in both
languages; nothing in them is anybody's markup."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from support.network import CONTRACT, Ledger, session
from support.rounds import SITES, finish, publish, report_all, submit, three_sites
from support.uirecords import recorder_of
from swarmlearning.ledger.bodies import AnnotateRun, Register, Reset, TagRun
from swarmlearning.ui.app import make_app
from swarmlearning.ui.security.admission import Admitted
from swarmlearning.ui.security.roles import ROLES, Role
from swarmlearning.ui.settings import UiSettings
from swarmlearning.ui.site import Site
from swarmlearning.ui.store.database import Database
from swarmlearning.ui.store.users import User
from swarmlearning.views.report import Recorder

RUN = f"{CONTRACT}/1"
MARKUP = "<script>alert(1)</script>"


def ledger() -> Ledger:
    """Run 1 is over, with notes that are markup; of run 2 a round is in progress. A site's name is markup, too."""
    made = three_sites()
    made.join("op", "UI")
    made.actors["site-3"].incarnation += 1
    made.send("site-3", Register("SL", MARKUP, made.actors["site-3"].pem, "0", 2), "network")
    made.send("site-3", session(min_peers=2))
    submit(made, *SITES)
    publish(made, "1" * 64)
    report_all(made)
    finish(made, "2" * 64)
    made.send("op", AnnotateRun(1, f"{MARKUP}\nsecond line"), on_behalf_of="Dr. Ada")
    made.send("op", TagRun(1, (MARKUP,)))
    made.send("op", Reset(forced=True))
    for site in SITES:
        made.send(site, session(min_peers=2))
    submit(made, "site-1")
    return made


class As:
    """The application as somebody uses it who has logged in."""

    def __init__(self, app: ASGIApp, user: User) -> None:
        self._app, self._user = app, user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["admitted"] = Admitted(self._user, "a session")
        await self._app(scope, receive, send)


class Pages:
    """The pages of a UI that knows a ledger, for a person of this role and language."""

    def __init__(self, folder: Path, database: Database, recorder: Recorder) -> None:
        site = Site(UiSettings(folder), database)
        site.feed._records = cast(Any, SimpleNamespace(recorder=recorder, index=None))
        self._app = make_app(site)

    async def get(self, path: str, role: Role = "viewer", language: str = "en") -> httpx.Response:
        app = As(self._app, User("ada", role, 0, 0, language))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ui") as client:
            return await client.get(path)


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    with Database(tmp_path) as database:
        yield Pages(tmp_path, database, recorder_of(ledger()))


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize(
    "path",
    [
        "/training",
        f"/training/{CONTRACT}",
        "/experiments",
        "/experiments?every=true",
        f"/experiments/{RUN}",
        f"/experiments/{CONTRACT}/2",
        f"/experiments/compare?run={RUN}&run={CONTRACT}/2",
        "/experiments/compare",
    ],
)
async def test_a_page_is_whole_in_both_languages_and_shows_no_markup_of_others(
    pages: Pages, path: str, language: str
) -> None:
    found = await pages.get(path, language=language)
    assert found.status_code == 200, found.text
    assert f'<html lang="{language}"' in found.text
    assert MARKUP not in found.text


@pytest.mark.parametrize(
    "path", ["/training/none", "/experiments/none/1", "/experiments/x", f"/experiments/{CONTRACT}/9"]
)
async def test_a_run_or_contract_that_there_is_not_is_not_found(pages: Pages, path: str) -> None:
    assert (await pages.get(path)).status_code == 404


async def test_the_same_data_are_json(pages: Pages) -> None:
    [row] = (await pages.get("/training.json")).json()["contracts"]
    assert (row["path"], row["run"], row["state"]) == (CONTRACT, 2, "RUNNING")
    now = (await pages.get(f"/training/{CONTRACT}.json")).json()
    assert (now["round"], now["have"], now["need"]) == (0, 1, 2)
    assert {each["name"]: each["activity"] for each in now["sites"]}["site-1"] == "submitted"
    runs = (await pages.get("/experiments.json")).json()["runs"]
    assert [each["id"] for each in runs] == [f"{CONTRACT}/2", RUN]
    one = (await pages.get(f"/experiments/{RUN}.json")).json()
    assert one["view"]["summary"]["notes"][0]["lines"] == [MARKUP, "second line"]


async def test_charts_and_files_have_all_rounds(pages: Pages) -> None:
    assert [len(cells) for cells in (await pages.get(f"/experiments/matrix?run={RUN}")).json()["cells"]] == [2, 2, 2]
    assert (await pages.get(f"/experiments/curves?run={RUN}")).json()["round"] == [0, 1]
    table = await pages.get("/experiments/runs.csv")
    assert table.headers["content-disposition"] == 'attachment; filename="runs.csv"'
    assert len(table.text.splitlines()) == 3
    assert len((await pages.get("/experiments/runs-all.json")).json()) == 2
    assert (await pages.get("/experiments/curves?run=x/1")).status_code == 404


async def test_curves_have_rounds_epochs_and_times_and_what_the_ui_names_is_in_its_language(pages: Pages) -> None:
    curves = (await pages.get(f"/experiments/curves?run={RUN}", language="de")).json()
    swarm, first = curves["series"][:2]
    assert (swarm["name"], swarm["epochs"], first["epochs"]) == ("Schwarm", [1.0, 1.0], [1.0, None])
    assert [each["text"] for each in curves["marks"]] == ["Beste Runde"]
    assert len(curves["time"]) == 2
    influence = (await pages.get(f"/experiments/influence?run={RUN}")).json()
    assert [each["name"] for each in influence["series"]][:2] == SITES[:2]
    assert {len(each["distance"]) for each in influence["series"]} == {len(influence["round"])} == {2}
    interval = (await pages.get(f"/experiments/interval?run={RUN}")).json()
    assert interval["series"] == [{"name": "Interval", "interval": [1.0, 1.0], "kind": "swarm"}]
    compared = (await pages.get(f"/experiments/compare.json?run={RUN}")).json()["drawn"]["series"][0]
    assert (compared["round"], compared["epochs"], compared["elapsed"][0] >= 0) == ([0, 1], [1.0, 1.0], True)


async def test_all_runs_are_saved_one_after_the_other(pages: Pages) -> None:
    whole = await pages.get("/experiments/runs-all.json")
    assert whole.headers["content-disposition"] == 'attachment; filename="runs.json"'
    assert [each["run"]["id"] for each in whole.json()] == [f"{CONTRACT}/2", RUN]
    assert set(whole.json()[1]["charts"]) == {"curves", "matrix", "influence", "interval"}


async def test_whoever_cannot_act_is_shown_no_forms(pages: Pages) -> None:
    for role in ROLES[:2]:  # this UI has no certificate with which it could act
        assert "/experiments/annotate" not in (await pages.get(f"/experiments/{RUN}", role)).text
