"""How far the first set-up has come: what a person has decided, kept so that it can be gone on with at any time. Pure.

Secrets are no part of it. What exists besides, such as the authority and the network, is looked at, not remembered.
"""

from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from swarmlearning.address import is_loopback
from swarmlearning.errors import UserError
from swarmlearning.ui.hosts.founding import EPOCHS, ORGANISATION, Addressed, Founding, Ports, alone, demo

SETTING: Final = "setup"
THIS: Final = "this machine"
"""The name of the machine on which the UI runs, among the hosts."""
MOST_SITES: Final = 8
"""Sites of the demo on one host."""
MOST_HOSTS: Final = 32
"""It becomes part of the names of nodes, and is what the ledger calls the organisation."""

Way: TypeAlias = Literal["found", "join"]
Step: TypeAlias = Literal["welcome", "organisation", "hosts", "network", "review", "install", "join", "summary"]
STEPS_OF: Final[dict[Way, tuple[Step, ...]]] = {
    "found": ("welcome", "organisation", "hosts", "network", "review", "install", "summary"),
    "join": ("welcome", "join", "summary"),
}


class SetupError(UserError):
    """What was decided in the set-up does not work; `key` is the text that says why, with these values."""

    def __init__(self, key: str, english: str, **values: object) -> None:
        super().__init__(english)
        self.key = key
        self.values = values


class Chosen(msgspec.Struct, frozen=True):
    """A host that takes part. `address`: at which other nodes reach it; `prefix`: the folder of the product there."""

    name: str
    address: str
    prefix: str


class Setup(msgspec.Struct, frozen=True):
    """The decisions. `way`: to found a network, or to join one; `first`: the host of the first SN; `sites`: how many
    sites of the demo each host has. `job`: the work of the last installation; `node`: the UI's name in its certificate;
    `sn` and `network_id`: of the network, once it runs or was joined; `done`: all of it is there."""

    way: Way | None = None
    organisation: str = ""
    hosts: tuple[Chosen, ...] = ()
    network: str = ""
    first: str = ""
    sites: dict[str, int] = {}
    epochs: int = EPOCHS
    ports: Ports = Ports()
    job: int = 0
    node: str = ""
    sn: str = ""
    network_id: str = ""
    done: bool = False

    def host(self, name: str) -> Chosen:
        """The host of this name. Raises `SetupError`."""
        found = next((each for each in self.hosts if each.name == name), None)
        if found is None:
            raise SetupError("setup.no-such-host", f"{name[:80]} is not among the hosts of the set-up", host=name[:80])
        return found


class Existing(NamedTuple):
    """What is there: the certificate of the UI, and its authority; the network."""

    certified: bool
    founded: bool


def steps(setup: Setup) -> tuple[Step, ...]:
    """The steps of the way that was chosen."""
    return STEPS_OF[setup.way or "found"]


def reached(setup: Setup, there: Existing) -> Step:
    """The first step that is not done yet: all before it can be gone back to."""
    done: dict[Step, bool] = {
        "welcome": setup.way is not None,
        "organisation": there.certified,
        "hosts": bool(setup.hosts),
        "network": bool(setup.network and setup.first),
        "review": bool(setup.job),
        "install": setup.done and there.founded,
        "join": setup.done and there.founded,
        "summary": False,
    }
    return next(step for step in steps(setup) if not done[step])


def open_steps(setup: Setup, there: Existing) -> tuple[Step, ...]:
    """The steps that can be opened."""
    found = steps(setup)
    return found[: found.index(reached(setup, there)) + 1]


def founding(setup: Setup) -> Founding:
    """What is to be founded. Raises `UserError`."""
    addressed = {each.name: Addressed(each.name, each.address) for each in setup.hosts}
    first = addressed[setup.host(setup.first).name]
    sites = [addressed[each.name] for each in setup.hosts for _ in range(setup.sites.get(each.name, 0))]
    if not sites:
        return alone(setup.organisation, first, ports=setup.ports, network=setup.network)
    return demo(setup.organisation, first, sites, ports=setup.ports, network=setup.network, epochs=setup.epochs)


def read_setup(text: str) -> Setup:
    """What is kept; from the beginning where that cannot be understood any more."""
    try:
        return msgspec.json.decode(text, type=Setup)
    except msgspec.DecodeError:
        return Setup()


def with_organisation(setup: Setup, name: str) -> Setup:
    """Raises `SetupError` for what can be no name."""
    if not ORGANISATION.fullmatch(name):
        raise SetupError(
            "setup.bad-organisation",
            f"{name[:60]!r} cannot be the organisation's name: it begins with a letter, and has at most 31 small "
            "letters, digits and hyphens",
        )
    return msgspec.structs.replace(setup, organisation=name)


def with_hosts(setup: Setup, hosts: tuple[Chosen, ...]) -> Setup:
    """The hosts in place of those before; what was decided for one that is gone is forgotten. Raises `SetupError`."""
    if not hosts:
        raise SetupError("setup.no-hosts", "choose one host at least: this machine will do")
    if len(hosts) > MOST_HOSTS:
        raise SetupError("setup.too-many-hosts", f"at most {MOST_HOSTS} hosts at once", most=MOST_HOSTS)
    names = [each.name for each in hosts]
    sites = {name: count for name, count in setup.sites.items() if name in names}
    if not sites:
        sites = {name: (2 if len(names) == 1 else 1) for name in names}
    first = setup.first if setup.first in names else names[0]
    return msgspec.structs.replace(setup, hosts=hosts, sites=sites, first=first)


def with_network(setup: Setup, name: str, first: str, sites: dict[str, int], epochs: int, ports: Ports) -> Setup:
    """The network as it is to be. Raises `UserError`."""
    if not (0 < len(name) <= 64 and name.isprintable() and name.strip() == name):
        raise SetupError("setup.bad-network", "a network's name has 1 to 64 printable characters")
    if len({ports.api, ports.p2p, ports.join}) != 3:
        raise SetupError("setup.same-ports", "the three ports of the first SN are different ones")
    if sum(sites.values()) == 1:
        raise SetupError("setup.one-site", "a swarm needs two sites at least, or none for now")
    address = setup.host(first).address
    far = next((each for each in setup.hosts if not is_loopback(each.address)), None)
    if far is not None and is_loopback(address):
        raise SetupError(
            "setup.loopback",
            f"{far.name} cannot reach the first SN at {address}: give {first} the address at which the others reach it",
            host=far.name,
            first=first,
            address=address,
        )
    changed = msgspec.structs.replace(setup, network=name, first=first, sites=sites, epochs=epochs, ports=ports)
    founding(changed)
    return changed
