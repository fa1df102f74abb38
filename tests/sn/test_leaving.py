"""Leaving the network, when what the others answer cannot be."""

from pathlib import Path

import pytest

from support.local_sn import running_sn
from swarmlearning.errors import first_cause
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.contracts import network
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower
from swarmlearning.sn.leaving import leave


async def test_an_error_while_an_sn_follows_the_others_is_raised_at_once(
    tmp_path: Path, identities: dict[str, Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wrong(follower: Follower) -> None:
        raise NodeError("this node belongs to another network")

    monkeypatch.setattr(Follower, "run", wrong)
    monkeypatch.setattr(network, "sn_addresses", lambda world, besides: ["127.0.0.1:1"])
    async with running_sn(tmp_path, identities["SN-1"]):
        pass
    with DataDirectory(tmp_path) as place, pytest.raises(ExceptionGroup) as raised:
        await leave(place, identities["SN-1"])
    assert str(first_cause(raised.value)) == "this node belongs to another network"
