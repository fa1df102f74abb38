"""The license of the UI: from a license server that is named, as a session of SWCI has it; else the built-in one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.certs import make_workspace
from support.licenses import Issuer, Servers
from support.processes import Processes
from support.ui import Person, start_ui
from swarmlearning.license.features import Feature


def once(person: Person, reached: Callable[[Any], bool]) -> Any:
    """The license that the settings show, once it is so; news come whenever the UI has tried to reach its SN."""
    with person.stream("GET", "/events?topics=status") as stream:
        lines = stream.iter_lines()
        while not reached(found := person.data("/settings.json")["license"]):
            next(lines)
        return found


def test_a_ui_takes_a_token_shows_it_gives_it_back_and_does_not_start_without(tmp_path: Path) -> None:
    identities = make_workspace(tmp_path / "cert", ["LICENSE-1", "UI-1", "OBSERVER-1"])
    with Processes(tmp_path) as processes:
        issuer = Issuer(tmp_path / "issuer")
        issuer.issue({Feature.SWCI: 1})
        servers = Servers(processes, issuer, identities["LICENSE-1"])
        server = servers.start(lease_seconds=5)
        place = ("127.0.0.1:1", "--apls-ip", "127.0.0.1", "--apls-port", str(servers.ports["primary"]))
        ui = start_ui(processes, tmp_path / "ui", identities["UI-1"], *place)
        with ui.admin() as person:
            held = person.data("/settings.json")["license"]
            address = f"127.0.0.1:{servers.ports['primary']}"
            assert (held["state"], held["server"], held["feature"]) == ("held", address, "1100000388:1")
            assert "Held" in person.page("/settings").text
            second = start_ui(processes, tmp_path / "second", identities["UI-1"], *place)
            assert second.process.wait() == 1
            assert "acquireLicense: 304" in second.process.output
            assert "Traceback" not in second.process.output
            watching = start_ui(processes, tmp_path / "watching", identities["OBSERVER-1"], *place)
            with watching.admin() as observer:
                assert observer.data("/settings.json")["license"]["state"] == "observer"
            server.kill()
            lost = once(person, lambda it: it["state"] == "ended")
            assert "Error code : 6002" in lost["fault"]
            assert person.page("/").status_code == 200
            servers.start(lease_seconds=2)
            assert once(person, lambda it: it["state"] == "held")["fault"] == ""
        ui.process.stop()
        again = start_ui(processes, tmp_path / "second", identities["UI-1"], *place)
        assert again.address


def test_without_a_license_server_the_built_in_license_is_used(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        ui = start_ui(processes, tmp_path / "ui", None, "127.0.0.1:1", "--http")
        with ui.admin() as person:
            assert person.data("/settings.json")["license"]["state"] == "community"
            assert "Built-in community license" in person.page("/settings").text
