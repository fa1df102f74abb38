"""The SN from which a network that has lost its majority can be restarted."""

from pathlib import Path

import pytest

from support.network import Ledger
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.sn.recovering import survivor


@pytest.fixture
def place(tmp_path: Path) -> DataDirectory:
    with DataDirectory(tmp_path) as made:
        return made


def test_a_network_is_restarted_from_an_sn_that_it_admits(place: DataDirectory) -> None:
    ledger = Ledger(founder=place.uid)
    assert survivor(ledger.chain.world, place).uid == place.uid


def test_no_network_is_restarted_from_an_sn_in_quarantine_and_the_refusal_names_what_to_do(
    place: DataDirectory,
) -> None:
    ledger = Ledger()
    ledger.join(place.uid, "SN")
    ledger.void(place.uid)
    with pytest.raises(NodeError, match=r"is in quarantine, .* recover on another SN. Where no other one is left"):
        survivor(ledger.chain.world, place)


def test_no_network_is_restarted_from_an_sn_that_has_not_joined_one(place: DataDirectory) -> None:
    with pytest.raises(NodeError, match="this SN is no member of a network"):
        survivor(Ledger().chain.world, place)
