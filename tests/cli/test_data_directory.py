"""The default data directory of a node, and the error where there is none."""

from pathlib import Path

import pytest

from swarmlearning.cli.options import data_directory
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
