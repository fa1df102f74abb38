"""The default data directory of a node, and the error where there is none."""

from pathlib import Path

import pytest

from support.certs import make_workspace
from swarmlearning.cli.connection import Connection
from swarmlearning.cli.options import Credentials, data_directory
from swarmlearning.identity.identity import Identity
from swarmlearning.node.errors import NodeError


def test_the_default_is_below_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert data_directory(None, "sn") == Path("/home/somebody/.local/state/swarmlearning/sn")


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_without_a_home_directory_the_data_directory_must_be_named(
    home: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else an SN that systemd starts would found a second network elsewhere."""
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)
    with pytest.raises(NodeError, match=r"HOME is not set.*--data-dir"):
        data_directory(None, "sn")
    assert data_directory(tmp_path / "sn", "sn") == tmp_path / "sn"


def test_two_operators_of_one_user_have_a_folder_each_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = make_workspace(tmp_path / "cert", ["OPERATOR-1", "OPERATOR-2"])
    again = make_workspace(tmp_path / "cert", ["OPERATOR-1"])["OPERATOR-1"]
    other = make_workspace(tmp_path / "other", ["OPERATOR-1"], ca_name="CA-2")["OPERATOR-1"]

    def home(identity: Identity) -> Path:
        files = identity.cert_path, identity.key_path
        capath = identity.cert_path.parent / "ca" / "capath"
        return Connection(credentials=Credentials(capath=capath, cert=files[0], key=files[1])).home

    assert home(made["OPERATOR-1"]) == home(again), "a renewed certificate is one of the same operator"
    assert len({home(made["OPERATOR-1"]), home(made["OPERATOR-2"]), home(other)}) == 3
