"""The first set-up of a UI by a person, and the end of the nodes that it has started."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from support.ports import fixed_port
from support.ui import Person
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.local import LocalMachine
from swarmlearning.ui.hosts.running import states, stop

PASSPHRASE = "a passphrase of north"


@contextmanager
def nodes_below(prefix: Path) -> Iterator[Layout]:
    """The nodes of this folder are stopped at the end, whatever ends the block."""
    layout = Layout(str(prefix))
    try:
        yield layout
    finally:
        asyncio.run(_stop(layout))


async def _stop(layout: Layout) -> None:
    machine = LocalMachine()
    for each in await states(machine, layout):
        role, _, rest = each.name.partition("-")
        await stop(machine, layout, f"{role.upper()}-{rest}", 20)


def node_states(layout: Layout) -> dict[str, str]:
    """How the nodes of this folder are."""
    found = asyncio.run(states(LocalMachine(), layout))
    return {each.name: each.state for each in found}


def free_ports() -> dict[str, str]:
    """Fields of the step Network: ports of the SN, and the first one of two sites."""
    fs = fixed_port()
    while (following := fixed_port()) != fs + 1:
        fs = following
    return {"api": str(fixed_port()), "p2p": str(fixed_port()), "join": str(fixed_port()), "fs": str(fs)}


def does(person: Person, path: str, **form: str) -> httpx.Response:
    """The page that an act leads to, which has not failed."""
    answer = person.act(path, **form)
    assert answer.status_code == 303, answer.text
    page = person.page(answer.headers["location"])
    assert page.status_code == 200, page.text
    assert 'role="alert"' not in page.text, alerts(page.text)
    return page


def fails(person: Person, path: str, **form: str) -> str:
    """What is said of an act that fails."""
    answer = person.act(path, **form)
    assert answer.status_code == 303, answer.text
    found = alerts(person.page(answer.headers["location"]).text)
    assert found
    return found


def alerts(page: str) -> str:
    """The messages of a page that something has failed."""
    return " ".join(re.findall(r'role="alert">.*?</strong>(.*?)</div>', page, re.DOTALL))


def plan(person: Person, ports: dict[str, str], sites: int, epochs: int = 2) -> None:
    """The steps from the beginning to the review: an organisation, this machine, a network."""
    does(person, "/setup/begin", way="found")
    does(person, "/setup/organisation", organisation="north", passphrase=PASSPHRASE, again=PASSPHRASE)
    choose(person, ports, sites, epochs)


def choose(person: Person, ports: dict[str, str], sites: int, epochs: int = 2) -> None:
    """The steps Hosts and Network."""
    proposed = person.data("/setup/hosts.json")["hosts"][0]["host"]
    does(person, "/setup/hosts", taken=proposed["name"], **proposed)
    decided = {"network": "our network", "first": proposed["name"], "host": proposed["name"], "sites": str(sites)}
    does(person, "/setup/network", epochs=str(epochs), **decided, **ports)
