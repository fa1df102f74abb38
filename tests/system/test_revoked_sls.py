"""An SL is revoked during a training, by real processes: its script learns why, and the others finish."""

import uuid
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.local_sn import member
from support.processes import Processes
from support.swarm import Gate, Swarm, assert_complete, has_models, run
from swarmlearning.ledger.bodies import Revoke
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.history import rounds, steps
from swarmlearning.ordering.local import read_chain_file

ROUNDS = 3


def revoke(swarm: Swarm, name: str) -> None:
    """An operator shuts out a node's certificate."""
    operator = make_workspace(swarm.directory / "cert", ["SWCI-1"])["SWCI-1"]

    async def act() -> None:
        async with member(swarm.address, operator, str(uuid.uuid4()), "SWCI") as swci:
            await swci.register()
            await swci.send(Revoke(swarm.identities[name].thumbprint))

    run(act())


@pytest.mark.parametrize("waits", [True, False], ids=["while its script waits", "while its script trains"])
def test_the_script_beside_a_revoked_sl_learns_the_reason_and_the_others_finish(
    processes: Processes, tmp_path: Path, waits: bool
) -> None:
    """Site 3 is revoked in the second round: it waits there for site 1, or site 1 and 2 for it."""
    swarm, gate = Swarm(processes, tmp_path), Gate(tmp_path / "gate")
    swarm.start_sn()
    sls = {index: swarm.start_sl(index) for index in (1, 2, 3)}
    ml = ("--rounds", str(ROUNDS), "--min-peers", "2", "--gate", str(gate.path), "--hold-at", "0")
    held = 1 if waits else 3
    scripts = {
        index: swarm.train(index, sl, *ml, *(("--hold-at", "1") if index == held else ())) for index, sl in sls.items()
    }
    swarm.until(lambda state: len(state.members) == 3)  # else two of them could be through before the third begins
    gate.let(3)
    swarm.until(has_models(2, 1))
    revoke(swarm, "SL-3")
    assert sls[3].wait() == 1
    gate.let()
    assert scripts[3].wait() == 1
    assert "has been revoked; ask an operator of organisation" in scripts[3].output
    assert_complete([scripts[1], scripts[2]])
    walked = list(steps(read_chain_file(tmp_path / "sn" / "chain.sqlite")))
    names = {known.uid: known.name for known in network.nodes(walked[-1].chain.world)}
    merged = [sorted(names[part.uid] for part in each.contributions) for each in rounds(walked)]
    assert all(set(each) <= {"site-1", "site-2"} for each in merged[1:])
    assert merged[-1] == ["site-1", "site-2"]
    gate.close()
