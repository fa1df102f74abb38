"""From nothing to a swarm that has trained, in the browser alone, with all that gets in between. Real processes."""

import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from support.processes import Processes
from support.setups import PASSPHRASE, choose, does, fails, free_ports, node_states, nodes_below, plan
from support.ui import Person, Ui, start_ui
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.office import Office
from swarmlearning.identity.requests import read_request
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ui.backup import backup, restore
from swarmlearning.ui.hosts.logins import Secret
from swarmlearning.ui.setup.identity import establish
from swarmlearning.ui.setup.state import SetupError

THIS = "this machine"


def bare(processes: Processes, folder: Path) -> Ui:
    """A UI on a bare machine."""
    return start_ui(processes, folder, None, "127.0.0.1:1", "--http")


def job_of(person: Person) -> Any:
    """The job of the set-up once it is over."""
    data = person.until("/setup/install.json", lambda it: it["job"]["job"]["state"] != "running", "jobs")
    return data["job"]["job"]


def reason(job: Any) -> str:
    """Why a job has failed."""
    return " ".join(host.get("detail", "") for host in job["hosts"])


def test_from_nothing_to_a_swarm_that_has_trained(tmp_path: Path) -> None:
    folder, ports = tmp_path / "ui", free_ports()
    with Processes(tmp_path) as processes, nodes_below(tmp_path / "ui-nodes") as layout:
        ui = bare(processes, folder)
        with ui.admin() as person:
            assert 'href="/setup"' in person.page("/").text
            plan(person, ports, sites=2)
        ui.process.kill()
        ui = bare(processes, folder)  # nobody has lost anything
        with ui.admin() as person:
            assert person.data("/setup.json")["step"] == "review"
            assert "not the passphrase" in fails(person, "/setup/install", ca_passphrase="another passphrase")
            with socket.create_server(("127.0.0.1", int(ports["api"]))):
                does(person, "/setup/install", ca_passphrase=PASSPHRASE)
                job = job_of(person)
            assert job["state"] == "failed"
            assert ports["api"] in reason(job)
            assert "repeat" in person.page("/setup/install").text
            does(person, "/setup/install", ca_passphrase=PASSPHRASE)
            founded = person.until("/setup/install.json", lambda it: bool(it["setup"]["network_id"]), "jobs,status")
        ui.process.kill()  # in the middle of it
        ui = bare(processes, folder)
        with ui.admin() as person:
            data = person.data("/setup.json")
            assert data["setup"]["network_id"] == founded["setup"]["network_id"]
            if data["step"] == "install":
                assert data["job"]["job"]["state"] == "interrupted"
                does(person, "/setup/install", ca_passphrase=PASSPHRASE)
                assert job_of(person)["state"] == "done"
            assert "our network" in does(person, "/setup/begin", way="found").text
            data = person.until("/overview.json", trained, "training,ledger,status")
            assert data["network"]["name"] == "our network"
            assert data["network"]["id"] == founded["setup"]["network_id"]
            of_sites = [each["organisation"] for each in data["nodes"] if each["kind"] == "SN"]
            assert of_sites == ["north"]
        ui.process.stop()
        ui = start_ui(processes, folder, None, "127.0.0.1:1")  # with its own certificate
        assert ui.address.startswith("https://")
        with ui.admin() as person:
            person.until("/overview.json", lambda it: it["network"] and not it["trouble"], "status,ledger")
            assert person.data("/settings.json")["about"]["certificate"] == "UI-north"
            another_joins(processes, tmp_path / "second", folder / "office", person)
            does(person, "/setup/nodes/stop")
            person.until(
                "/setup/summary.json", lambda it: [each["state"] for each in it["nodes"]] == ["stopped"] * 3, "jobs"
            )
        assert set(node_states(layout).values()) == {"stopped"}
        assert usable_keys(folder) == []
        for key in (*tmp_path.rglob("*-key.pem"), *Path(layout.prefix).rglob("*-key.pem")):
            assert stat.S_IMODE(key.stat().st_mode) == 0o600


def another_joins(processes: Processes, folder: Path, office: Path, person: Person) -> None:
    """Another UI joins by an invitation, and somebody at the office signs for it."""
    asked = {"csrf": person.csrf, "node": "UI-2", "lasting": "1h"}
    done = person.post("/organisations/invite", data=asked, headers={"accept": "application/json"}).json()
    other = bare(processes, folder)
    with other.admin() as guest:
        guest.page("/setup")
        does(guest, "/setup/begin", way="join")
        assert "begins with swarm1" in fails(guest, "/setup/join", code="swarm join nonsense")
        does(guest, "/setup/join", code=done["secret"])
        data = person.until("/organisations.json", lambda it: bool(waiting(it)), "organisations,ledger")
        (key,) = waiting(data)
        request = read_request(person.get(f"/organisations/requests/{key}").content)
        signed = Office(Workspace(office), "north", PASSPHRASE.encode()).sign(request, 30)
        does(person, "/organisations/certify", key=key, certificate=to_pem(signed))
        assert guest.until("/setup.json", lambda it: it["step"] == "summary", "jobs")["setup"]["sn"]
        guest.until("/overview.json", lambda it: it["network"] and not it["trouble"], "status,ledger")
        assert guest.data("/settings.json")["about"]["certificate"] == "UI-2"
    other.process.stop()


def waiting(data: Any) -> list[str]:
    """The keys of invitations whose nodes wait for the office."""
    return [each["key"] for each in data["invitations"] if each["state"] == "waiting"]


def trained(data: Any) -> bool:
    """Whether the overview shows a training that is complete."""
    return any(each["state"] == "COMPLETED" for each in data["trainings"])


def test_an_authority_is_discarded_as_long_as_nothing_uses_it(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        ui = bare(processes, tmp_path / "ui")
        with ui.admin() as person:
            person.page("/setup")
            does(person, "/setup/begin", way="found")
            for name, again, why in (("St Anna", PASSPHRASE, "31 small letters"), ("north", "x", "two different ways")):
                said = fails(person, "/setup/organisation", organisation=name, passphrase=PASSPHRASE, again=again)
                assert why in said
            assert "at least 12" in fails(person, "/setup/organisation", organisation="n", passphrase="x", again="x")
            assert person.data("/setup.json")["step"] == "organisation"
            does(person, "/setup/organisation", organisation="wrong", passphrase=PASSPHRASE, again=PASSPHRASE)
            assert person.data("/setup.json")["authority"]["certificate"] == "UI-wrong"
            does(person, "/setup/certify", passphrase=PASSPHRASE)
            does(person, "/setup/organisation/discard")
            assert not (tmp_path / "ui/office").exists()
            does(person, "/setup/organisation", organisation="north", passphrase=PASSPHRASE, again=PASSPHRASE)
            for changed, why in (
                ({"address": "10.0.0.1-4"}, "give one address"),
                ({"prefix": "/etc"}, "belongs to the system"),
                ({"taken": "nothing"}, "one host at least"),
            ):
                form = {"name": THIS, "taken": THIS, "address": "127.0.0.1", "prefix": str(tmp_path / "n"), **changed}
                assert why in fails(person, "/setup/hosts", **form)
            choose(person, free_ports(), sites=0)
            shown = person.page("/setup/review").text
            assert "SN-north" in shown
            assert "SL-north" not in shown
            assert "swarm ca create north" in shown
            assert PASSPHRASE not in "".join(person.page(f"/setup/{each}").text for each in ("organisation", "review"))


def test_the_way_back_from_a_backup_is_a_new_certificate(tmp_path: Path) -> None:
    folder, other = tmp_path / "ui", tmp_path / "other"
    with Processes(tmp_path) as processes:
        ui = bare(processes, folder)
        with ui.admin() as person:
            plan(person, free_ports(), sites=0)
        assert usable_keys(folder) == []
        assert len(usable_keys(tmp_path / "ui-identity")) == 1
        archive = tmp_path / "ui.tar.gz"
        done = backup(folder, archive, "1")
        assert "office/ca/north-key.pem" in [each.path for each in done.content.files]
        restore(archive, other)
        ui = bare(processes, other)
        with ui.admin() as person:
            person.page("/setup")
            assert person.data("/setup.json")["step"] == "organisation"
            does(person, "/setup/certify", passphrase=PASSPHRASE)
            assert person.data("/setup.json")["step"] == "review"


def usable_keys(folder: Path) -> list[Path]:
    """Files of a copy of this folder that have a private key that nothing encrypts."""
    found = (each for each in folder.rglob("*") if each.is_file())
    return [each for each in found if b"BEGIN PRIVATE KEY" in each.read_bytes()]


def test_a_folder_beside_which_the_ui_may_not_write_is_told(tmp_path: Path) -> None:
    (tmp_path / "ui-identity").write_text("something else")
    with pytest.raises(SetupError, match=r"ui-identity, where the UI's key is kept, cannot be made"):
        establish(tmp_path / "ui", "north", Secret(PASSPHRASE), [], [])
    assert not (tmp_path / "ui").exists()
