"""Where a command takes its identity from: files or a SPIFFE agent, by options or variables."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.agent import Agents, TrustDomain
from support.certs import make_workspace
from swarmlearning.cli.connection import Connection
from swarmlearning.cli.options import Credentials
from swarmlearning.identity.identity import Identity, IdentityError
from swarmlearning.identity.spiffe import SOCKET_VARIABLE


@pytest.fixture
def files(tmp_path: Path) -> Identity:
    return make_workspace(tmp_path / "cert", ["SL-1"])["SL-1"]


@pytest.fixture
def socket() -> Iterator[str]:
    agents = Agents()
    yield str(agents.start(TrustDomain("org1.example"), "sl").socket)
    agents.close()


def by_variables(monkeypatch: pytest.MonkeyPatch, files: Identity) -> None:
    monkeypatch.setenv("SWARM_ID_CERT", str(files.cert_path))
    monkeypatch.setenv("SWARM_ID_KEY", str(files.key_path))
    monkeypatch.setenv("SWARM_ID_CAPATH", str(files.cert_path.parent / "ca" / "capath"))


def test_the_variable_names_an_agent(socket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SOCKET_VARIABLE, socket)
    assert Credentials().identity().subject == "spiffe://org1.example/sl"
    assert Credentials().source().current.subject == "spiffe://org1.example/sl"


def test_an_agent_that_is_given_wins_over_files_in_variables_whose_cas_are_trusted_too(
    socket: str, files: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_variables(monkeypatch, files)
    found = Credentials(socket_path=f"unix://{socket}").identity()
    assert found.subject == "spiffe://org1.example/sl"
    assert found.anchors[0] == files.anchors[0]


def test_files_that_are_given_win_over_an_agent_in_a_variable(
    socket: str, files: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SOCKET_VARIABLE, socket)
    capath = files.cert_path.parent / "ca" / "capath"
    given = Credentials(cert=files.cert_path, key=files.key_path, capath=capath)
    assert given.identity().subject == files.subject


def test_two_identities_are_refused(files: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IdentityError, match="leave out --cert and --key, or --socket-path"):
        Credentials(cert=files.cert_path, socket_path="/run/agent.sock").identity()
    by_variables(monkeypatch, files)
    monkeypatch.setenv(SOCKET_VARIABLE, "/run/agent.sock")
    with pytest.raises(IdentityError, match="unset one of them"):
        Credentials().source()


def test_whoever_acts_by_an_agent_keeps_the_uid_when_the_root_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All certificates of SPIRE are for the same subject, and by the same issuer, but for the ID."""
    monkeypatch.setenv("HOME", str(tmp_path))
    agents, domain = Agents(), TrustDomain("org1.example")
    try:
        swci, ui = agents.start(domain, "swci"), agents.start(domain, "ui")
        of_swci, of_ui = (Connection(credentials=Credentials(socket_path=str(each.socket))) for each in (swci, ui))
        home = of_swci.home
        assert home != of_ui.home
        domain.prepare_root()
        swci.renew()
        assert of_swci.home == home
    finally:
        agents.close()
