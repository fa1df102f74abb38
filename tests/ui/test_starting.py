"""How the web interface starts, and what it says where it cannot."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from support.certs import make_workspace
from support.processes import Processes
from support.setups import PASSPHRASE, does
from support.ui import ADMIN, PASSWORD, first_link, start_ui
from swarmlearning.identity.ca import issue
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ui.hosts.logins import Secret
from swarmlearning.ui.setup import identity
from swarmlearning.ui.setup.state import SETTING, Setup
from swarmlearning.ui.store.database import Database


def test_it_starts_on_a_bare_machine_and_leads_to_the_set_up(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        ui = start_ui(processes, tmp_path / "ui", None, "127.0.0.1:1", "--http")
        with ui.admin() as person:
            assert "This UI belongs to no network yet" in person.page("/").text
            assert person.data("/overview.json")["configured"] is False
            assert person.data("/ledger.json")["rows"] == []
        assert stat.S_IMODE((tmp_path / "ui").stat().st_mode) == 0o700
        ui.process.stop()
        assert "Traceback" not in ui.process.output


def test_without_a_terminal_a_link_makes_the_first_user(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        unset = {"SLM_UI_ADMIN_USER": "", "SLM_UI_ADMIN_PASSWORD": ""}
        ui = start_ui(processes, tmp_path / "ui", None, "127.0.0.1:1", "--http", environment=unset)
        link = first_link(ui)
        with ui.somebody() as person:
            assert "Create the first account" in person.page(link).text
            form = {"token": link.rpartition("=")[2], "name": ADMIN, "password": PASSWORD, "again": PASSWORD}
            assert person.post("/first", data=form).headers["location"] == "/setup"
            assert person.page("/setup").status_code == 200
        with ui.admin() as person:
            assert person.data("/settings.json")["users"][0]["role"] == "admin"
        ui.process.stop()
        again = start_ui(processes, tmp_path / "ui", None, "127.0.0.1:1", "--http", environment=unset)
        assert again.address
        again.process.stop()
        assert again.process.output.count("/first?token=") == 1  # both have written to one file


def test_it_starts_without_an_sn_that_answers_and_says_so(tmp_path: Path) -> None:
    identities = make_workspace(tmp_path / "cert", ["UI-1"])
    with Processes(tmp_path) as processes:
        ui = start_ui(processes, tmp_path / "ui", identities["UI-1"])
        with ui.admin() as person:
            with person.stream("GET", "/events?topics=status") as news:
                lines = news.iter_lines()
                while person.data("/overview.json")["trouble"] is None:
                    next(lines)
            assert "SN 127.0.0.1:1 cannot be reached" in person.page("/").text


@pytest.mark.parametrize(
    ("options", "flags", "environment", "expected"),
    [
        ({}, ("--http",), {"SLM_UI_ADMIN_PASSWORD": "short"}, "at least 12 characters"),
        ({}, ("--http",), {"SLM_UI_ADMIN_PASSWORD_FILE": "/nothing/there"}, "unset one of them"),
        ({}, ("--http",), {"SLM_UI_IDLE_MINUTES": "0"}, "SLM_UI_IDLE_MINUTES"),
        ({}, ("--http",), {"SLM_UI_SECRETS_KEY": "secret7"}, "has 7 characters, and needs 16"),
        ({"host": "0.0.0.0"}, ("--http",), {}, "without TLS everybody on the way reads passwords"),
        ({}, (), {}, "the UI has no certificate for browsers"),
        ({"https-cert": "x"}, (), {}, "belong together"),
        ({"https-cert": "x", "https-key": "y"}, (), {}, "cannot be used"),
        ({"host": "192.0.2.77", "behind-proxy": "127.0.0.1"}, ("--http",), {}, "cannot listen on 192.0.2.77"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, options: dict[str, str], flags: tuple[str, ...], environment: dict[str, str], expected: str
) -> None:
    with Processes(tmp_path) as processes:
        ui = start_ui(processes, tmp_path / "ui", None, "127.0.0.1:1", *flags, environment=environment, **options)
        assert ui.process.wait() == 1, ui.process.output
        assert expected in ui.process.output
        assert "Traceback" not in ui.process.output


def test_an_expired_certificate_is_told_with_the_way_to_a_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "ui"
    node = identity.establish(folder, "north", Secret(PASSPHRASE), ["localhost"], ["127.0.0.1"])
    setup = Setup(way="found", organisation="north", node=node, sn="127.0.0.1:1", network_id="0" * 64, done=True)
    authority = Workspace(folder / identity.OFFICE).load_authority("north", PASSPHRASE.encode())
    began = datetime.now(UTC) - timedelta(days=10)
    identity.own(folder).save_node(node, issue(authority, node, [], ["127.0.0.1"], 9, began))
    with Database(folder) as database:
        kept = msgspec.json.encode(setup).decode()
        database.now(lambda sql: sql.execute("INSERT INTO settings VALUES (?, ?)", (SETTING, kept)))
    with Processes(tmp_path) as processes:
        ui = start_ui(processes, folder, None)
        assert ui.process.wait() == 1, ui.process.output
        said = ui.process.output
        assert "ui-north-cert.pem" in said
        assert "expired at" in said
        assert "start it with --http" in said
        assert "the page Set-up issues one" in said
        ui = start_ui(processes, folder, None, "127.0.0.1:1", "--http")
        with ui.admin() as person:
            person.page("/setup/organisation")
            does(person, "/setup/certify", passphrase=PASSPHRASE)
        ui.process.stop()
        ui = start_ui(processes, folder, None)
        assert ui.address.startswith("https://")
        with ui.admin() as person:
            assert person.data("/settings.json")["about"]["certificate"] == "UI-north"


def test_a_folder_is_one_uis(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        first = start_ui(processes, tmp_path / "ui", None, "127.0.0.1:1", "--http")
        assert first.address
        second = start_ui(processes, tmp_path / "ui", None, "127.0.0.1:1", "--http")
        assert second.process.wait() == 1
        assert "another UI is running there" in second.process.output
