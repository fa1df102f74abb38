"""The model of a single site, which every other member tries to read from the file servers of real SLs."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.local_sn import fetch
from support.processes import Processes
from support.swarm import Gate, Swarm, has_models

HIGH = {"x-chain-height": "999999999"}


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path / "gate")
    yield made
    made.close()


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    with Processes(tmp_path) as processes:
        yield Swarm(processes, tmp_path)


def test_the_model_of_a_single_site_is_served_to_the_leader_of_its_round_alone(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    ml = ("--rounds", "1", "--min-peers", "3", "--hold-at", "0", "--gate", str(gate.path))
    sites = {index: swarm.start_sl(index, *ml) for index in (1, 2, 3)}
    index_of = {site.ready["uid"]: index for index, site in sites.items()}
    swarm.until(lambda state: len(state.members) == 3)
    gate.let(2)
    state = swarm.until(has_models(2, 0))
    assert state.round is not None
    leader = swarm.identities[f"SL-{index_of[state.round.leader]}"]
    others = [swarm.identities[f"SL-{index}"] for uid, index in index_of.items() if uid != state.round.leader]
    for uid, entry in state.round.submissions.items():
        site = sites[index_of[uid]]
        if uid == state.round.leader:
            continue
        for part in ("", "/chunks", "/bundle"):
            path = f"/models/{entry.digest}{part}"
            for reader in (*others, swarm.identities["SN-1"]):
                for headers in ({}, HIGH, {"range": "bytes=0-9"}):
                    status, _, _ = asyncio.run(fetch(site.ready["fs"], reader, path, headers=headers))
                    assert status == 403, f"{reader.cert_path.name} reads {path} of {uid}"
            status, _, _ = asyncio.run(fetch(site.ready["fs"], leader, path, method="HEAD"))
            assert status == 200, "the leader reads it: the attack was delivered to the right place"
