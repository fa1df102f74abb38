"""The web interface for tests: a process of its own beside a swarm, and people's requests to it."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from support.processes import Process, Processes
from support.swarm import identity_options
from swarmlearning.identity.identity import Identity

ADMIN = "ada"
PASSWORD = "correct horse battery"


class Person(httpx.Client):
    """A browser without JavaScript: keeps cookies, sends the token of the page that it has loaded last."""

    csrf = ""

    def page(self, path: str, **request: Any) -> httpx.Response:
        """A page as HTML."""
        answer = self.get(path, headers={"accept": "text/html"}, **request)
        if found := re.search(r'name="csrf" value="([0-9a-f]+)"', answer.text):
            self.csrf = found[1]
        return answer

    def data(self, path: str, **request: Any) -> Any:
        """A page's data."""
        answer = self.get(path, headers={"accept": "application/json"}, **request)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, path: str, reached: Callable[[Any], bool], topics: str = "ledger,status") -> Any:
        """A page's data once they are so; looks again whenever there are news of these topics."""
        with self.stream("GET", f"/events?topics={topics}") as stream:
            lines = stream.iter_lines()
            while not reached(data := self.data(path)):
                while not next(lines).startswith("event: changed"):
                    pass
            return data

    def act(self, path: str, **form: Any) -> httpx.Response:
        """Sends a form."""
        return self.post(path, data={"csrf": self.csrf, **form})

    def log_in(self, name: str = ADMIN, password: str = PASSWORD) -> Self:
        """Logs in."""
        answer = self.post("/login", data={"name": name, "password": password})
        assert answer.status_code == 303, answer.text
        self.page("/account")
        return self


class Ui:
    """A running UI: `address` is where browsers find it."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @property
    def address(self) -> str:
        return self.process.ready["ui"]

    @contextmanager
    def somebody(self) -> Iterator[Person]:
        """Somebody who has not logged in."""
        with Person(base_url=self.address, verify=False, timeout=120) as person:
            yield person

    @contextmanager
    def admin(self) -> Iterator[Person]:
        """The first admin, logged in."""
        with self.somebody() as person:
            yield person.log_in()


def start_ui(
    processes: Processes,
    folder: Path,
    identity: Identity | None,
    sn: str = "127.0.0.1:1",
    *flags: str,
    environment: dict[str, str] | None = None,
    **options: str | Path,
) -> Ui:
    """Starts a UI with its data in `folder`, which asks the SN at this address first."""
    host, _, port = sn.rpartition(":")
    given = {"port": "0", "sn-ip": host, "sn-api-port": port, "data-dir": folder, **options}
    if identity is not None:
        given |= identity_options(identity)
    variables = {"SLM_UI_ADMIN_USER": ADMIN, "SLM_UI_ADMIN_PASSWORD": PASSWORD, **(environment or {})}
    return Ui(processes.node("ui", "ui", given, flags, environment=variables))


def first_link(ui: Ui) -> str:
    """The link by which the first user is made, as the UI prints it at its start."""
    assert ui.address
    found = re.search(r"\S+/first\?token=\S+", ui.process.output)
    assert found, ui.process.output
    return found[0]
