"""Certificates of nodes: keys stay on their hosts, and a host is not believed."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from support.bundles import standin_swarm
from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import CertificateError, common_name
from swarmlearning.identity.office import issued
from swarmlearning.identity.requests import make_request
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ui.hosts.certifying import (
    certificate_of,
    certified,
    has_key,
    join_line,
    joined,
    office_signs,
    requested,
)
from swarmlearning.ui.hosts.founding import open_office
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.local import LocalMachine
from swarmlearning.ui.hosts.logins import Secret
from swarmlearning.ui.hosts.machine import MachineError
from swarmlearning.ui.hosts.nodes import Wanted

WORD = Secret("a passphrase")


def wanted(tmp_path: Path, **names: tuple[str, ...]) -> Wanted:
    return Wanted(node="SL-West", folder=str(tmp_path / "swarm/nodes/sl-west/cert"), **names)


async def test_a_key_is_made_and_stays_on_its_host(tmp_path: Path) -> None:
    layout, machine = Layout(str(tmp_path / "swarm")), LocalMachine()
    standin_swarm(Path(layout.prefix))
    workspace = Workspace(tmp_path / "office")
    office, authority = open_office(workspace, "north", WORD)
    node = wanted(tmp_path, addresses=("10.0.0.7", "fd00:0::7"), names=("West.example.org",))
    assert not await has_key(machine, node)
    assert await certified(machine, layout, node, office_signs(office), authority)
    assert not await certified(machine, layout, node, office_signs(office), authority)  # it has one
    found = await certificate_of(machine, node)
    assert found is not None
    assert common_name(found) == "SL-West"
    assert await has_key(machine, node)
    here = [path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()]
    key = Path(node.folder, "sl-west-key.pem")
    assert key.stat().st_mode & 0o077 == 0
    assert not any(key.read_bytes() in data for data in here)
    assert not any(b"BEGIN PRIVATE KEY" in data for data in here)  # the authority's lies encrypted
    again = Workspace(tmp_path / "office")
    assert open_office(again, "north", WORD)[1] == authority
    assert [each.authority for each in issued(again, 0)] == ["NORTH"]


async def test_an_office_needs_its_passphrase(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="12 characters at least"):
        open_office(Workspace(tmp_path), "north", Secret("short"))
    assert list(tmp_path.iterdir()) == []
    open_office(Workspace(tmp_path), "north", WORD)
    with pytest.raises(CertificateError):
        open_office(Workspace(tmp_path), "north", Secret("another passphrase"))


def standin(layout: Layout, script: str) -> None:
    """Puts a shell script in the place of the `swarm` command."""
    place = Path(layout.swarm)
    place.parent.mkdir(parents=True)
    place.write_text(f"#!/bin/sh\n{script}\n")
    place.chmod(0o755)


@pytest.mark.parametrize(
    ("common", "names", "why"),
    [
        ("SN-1", [], "its request for SL-West is one for SN-1"),
        ("SL-West", ["bank.example"], "names bank.example, which nobody asked for"),
    ],
)
async def test_a_host_gets_nothing_that_nobody_asked_for(
    tmp_path: Path, common: str, names: list[str], why: str
) -> None:
    layout = Layout(str(tmp_path / "swarm"))
    request = make_request(ec.generate_private_key(ec.SECP256R1()), common, names, [])
    standin(layout, f"cat > {tmp_path}/swarm/nodes/sl-west/cert/sl-west-request.pem <<'E'\n{request}E")
    with pytest.raises(CertificateError, match=why):
        await requested(LocalMachine(), layout, wanted(tmp_path))


@pytest.mark.parametrize("answer", ["yes PEM", "head -c 200000 /dev/zero"])
async def test_a_request_is_bounded_and_checked(tmp_path: Path, answer: str) -> None:
    layout = Layout(str(tmp_path / "swarm"))
    standin(layout, f"{answer} | head -c 100000 > {tmp_path}/swarm/nodes/sl-west/cert/sl-west-request.pem")
    with pytest.raises((CertificateError, MachineError)):
        await requested(LocalMachine(), layout, wanted(tmp_path))


async def test_a_code_stands_in_no_command_line_and_in_no_message(tmp_path: Path) -> None:
    layout, code = Layout(str(tmp_path / "swarm")), "swarm1" + "a2b3c4d5e6f7" * 6
    standin(layout, f'echo "$@" > {tmp_path}/words; cat > {tmp_path}/given; exit $(cat {tmp_path}/status)')
    node = wanted(tmp_path, addresses=("10.0.0.7",))
    for status, has_joined in (("0", True), ("4", False)):
        (tmp_path / "status").write_text(status)
        assert await joined(LocalMachine(), layout, node, code, 5) is has_joined
    assert (tmp_path / "given").read_text() == code + "\n"
    assert code not in (tmp_path / "words").read_text()
    assert "--host-ip 10.0.0.7" in (tmp_path / "words").read_text()
    standin_again = Path(layout.swarm)
    standin_again.write_text("#!/bin/sh\necho this code $(cat) is void >&2\nexit 1\n")
    with pytest.raises(MachineError, match=r"joining of SL-West has failed.*this code") as caught:
        await joined(LocalMachine(), layout, node, code, 5)
    assert code not in str(caught.value)


def test_the_line_for_a_host_that_nobody_can_log_in_to() -> None:
    assert join_line("swarm1abc", ("10.0.0.7",)) == "swarm join swarm1abc --host-ip 10.0.0.7"
