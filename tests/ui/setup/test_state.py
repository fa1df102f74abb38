"""The decisions of the first set-up: which step comes next, and what is no plan."""

import msgspec
import pytest

from swarmlearning.errors import UserError
from swarmlearning.ui.hosts.founding import Ports
from swarmlearning.ui.setup.state import (
    MOST_HOSTS,
    STEPS_OF,
    THIS,
    Chosen,
    Existing,
    Setup,
    founding,
    open_steps,
    reached,
    read_setup,
    with_hosts,
    with_network,
    with_organisation,
)

HERE = Chosen(THIS, "127.0.0.1", "/srv/nodes")
WEST = Chosen("west.example", "10.0.0.2", "/opt/swarm")
NOTHING, MADE, RUNS = Existing(False, False), Existing(True, False), Existing(True, True)


def planned(sites: int = 2) -> Setup:
    chosen = with_hosts(with_organisation(Setup(way="found"), "north"), (HERE,))
    return with_network(chosen, "our network", THIS, {THIS: sites}, 7, Ports(fs=30400))


def test_steps_come_one_after_another_and_all_before_can_be_gone_back_to() -> None:
    begun = Setup(way="found")
    named = with_organisation(begun, "north")
    hosts = with_hosts(named, (HERE,))
    walked = [
        (Setup(), NOTHING, "welcome"),
        (begun, NOTHING, "organisation"),
        (named, NOTHING, "organisation"),  # its authority could not be made
        (named, MADE, "hosts"),
        (hosts, MADE, "network"),
        (planned(), MADE, "review"),
        (msgspec.structs.replace(planned(), job=3), MADE, "install"),
        (msgspec.structs.replace(planned(), job=3), RUNS, "install"),  # its nodes do not run yet
        (msgspec.structs.replace(planned(), job=3, done=True), RUNS, "summary"),
    ]
    for setup, there, step in walked:
        assert reached(setup, there) == step
        assert open_steps(setup, there) == STEPS_OF["found"][: STEPS_OF["found"].index(step) + 1]
    joining = Setup(way="join")
    assert [reached(joining, NOTHING), open_steps(joining, NOTHING)] == ["join", ("welcome", "join")]
    assert reached(msgspec.structs.replace(joining, done=True), RUNS) == "summary"


def test_it_is_kept_as_it_is_and_begins_anew_where_it_cannot_be_understood() -> None:
    setup = planned()
    assert read_setup(msgspec.json.encode(setup).decode()) == setup
    for text in ("", "[", '{"way":"fly"}', '{"hosts":7}'):
        assert read_setup(text) == Setup()


def test_one_machine_has_two_sites_and_several_have_one_each() -> None:
    assert with_hosts(Setup(), (HERE,)).sites == {THIS: 2}
    both = with_hosts(Setup(), (HERE, WEST))
    assert (both.sites, both.first) == ({THIS: 1, WEST.name: 1}, THIS)
    assert with_hosts(both, (WEST,)) == msgspec.structs.replace(
        both, hosts=(WEST,), sites={WEST.name: 1}, first=WEST.name
    )


def test_the_plan_is_what_was_decided() -> None:
    found = founding(planned())
    assert dict(found.sn.node.options)["network-name"] == "our network"
    assert [dict(each.node.options)["sl-fs-port"] for each in found.others] == ["30400", "30401"]
    assert ("SWARM_DEMO_EPOCHS", "7") in found.others[0].node.environment
    alone = founding(planned(0))
    assert (alone.sn.node.name, alone.others) == ("SN-north", ())


@pytest.mark.parametrize("name", ["", "North", "1st", "st anna", "x" * 32, "ä", "-x", "a\n", "a/b"])
def test_what_is_no_name_of_an_organisation(name: str) -> None:
    with pytest.raises(UserError, match="cannot be the organisation's name"):
        with_organisation(Setup(), name)


@pytest.mark.parametrize(
    ("hosts", "sites", "network", "ports", "why"),
    [
        ((HERE,), {THIS: 1}, "n", Ports(), "two sites at least"),
        ((HERE, WEST), {THIS: 1, WEST.name: 1}, "n", Ports(), "west.example cannot reach the first SN at 127.0.0.1"),
        ((HERE,), {THIS: 2}, "", Ports(), "1 to 64 printable characters"),
        ((HERE,), {THIS: 2}, "n\x00", Ports(), "1 to 64 printable characters"),
        ((HERE,), {THIS: 2}, "n", Ports(api=1, p2p=1), "are different ones"),
        ((HERE,), {THIS: 2}, "n", Ports(fs=65535), "no port left"),
        ((), {}, "n", Ports(), "one host at least"),
        ((HERE,) * (MOST_HOSTS + 1), {THIS: 2}, "n", Ports(), "at most 32 hosts"),
    ],
)
def test_what_is_no_network(
    hosts: tuple[Chosen, ...], sites: dict[str, int], network: str, ports: Ports, why: str
) -> None:
    with pytest.raises(UserError, match=why):
        with_network(with_hosts(with_organisation(Setup(), "north"), hosts), network, THIS, sites, 1, ports)
