"""Nodes and commands that know their network, by real processes: they refuse another one before they send anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.processes import COMMAND, Process, Processes
from support.swarm import Swarm, identity_options


class Two:
    """Two networks under the same authority: `own`, and `other`, to which nodes are led by mistake."""

    def __init__(self, processes: Processes, directory: Path) -> None:
        self.processes, self.directory = processes, directory
        self.identities = make_workspace(directory / "cert", ["SN-1", "SL-1", "SWCI-1", "SN-2"])
        self.own, self.other = (Swarm(processes, directory / name, self.identities, name) for name in ("own", "other"))
        for swarm in (self.own, self.other):
            assert swarm.start_sn().ready

    @property
    def ids(self) -> tuple[str, str]:
        """The IDs of both."""
        return self.own.sn.ready["network"], self.other.sn.ready["network"]

    def command(self, *words: str, identity: str = "SWCI-1") -> Process:
        """A command sent to the other network's SN, run to its end."""
        options = identity_options(self.identities[identity])
        named = [word for option, value in options.items() for word in (f"--{option}", value)]
        where = ("--sn-ip", "127.0.0.1", "--sn-api-port", str(self.other.port))
        done = self.processes.start(words[0], *COMMAND, *words, *where, *named)
        done.wait()
        return done


@pytest.fixture
def two(processes: Processes, tmp_path: Path) -> Iterator[Two]:
    made = Two(processes, tmp_path)
    before = made.other.chain().height
    yield made
    assert made.other.chain().height == before, "something was sent to the other network"


def test_a_network_s_whole_id_is_printed_by_its_sn_and_by_swarm_status(two: Two) -> None:
    _, other = two.ids
    assert f"Network other ({other}), height" in two.other.sn.output
    assert f"\nID {other}\n" in two.command("status", "--network-id", other.upper()).output


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("report",),
        ("contract", "list"),
        ("contract", "create", "scans"),
        ("node", "revoke", "SN-1"),
    ],
    ids=" ".join,
)
def test_a_command_that_names_its_network_refuses_another_one_and_names_both(two: Two, words: tuple[str, ...]) -> None:
    own, other = two.ids
    data = () if words[0] in ("status", "report") else ("--data-dir", str(two.directory / "operator"))
    refused = two.command(*words, "--network-id", own, *data)
    assert refused.wait() == 1
    assert f"--network-id names network {own}, but" in refused.output
    assert other in refused.output


def test_an_sl_that_names_its_network_refuses_another_one_and_names_both(two: Two) -> None:
    own, other = two.ids
    refused = two.other.start_sl(1, network_id=own)
    assert refused.wait() == 1
    assert f"--network-id names network {own}, but found network 'other', {other}: connect to" in refused.output


def test_an_sl_that_names_no_network_stays_in_its_first_one_and_names_the_file_to_delete(two: Two) -> None:
    data = two.directory / "sl"
    first = two.own.start_sl(1, data_dir=data)
    assert first.ready
    first.stop()
    refused = two.other.start_sl(1, data_dir=data)
    assert refused.wait() == 1
    own, other = two.ids
    assert f"belongs to network 'own', {own}, but found network 'other', {other}" in refused.output
    assert f"delete {data / 'node.json'}" in refused.output


def test_an_id_that_no_network_can_have_is_refused(two: Two) -> None:
    refused = two.command("status", "--network-id", "hospitals")
    assert refused.wait() == 2
    assert "64 hexadecimal digits" in refused.output
