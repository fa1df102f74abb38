"""A disk that is full for a while, at the SN and at the SL that leads. A limit on file sizes stands for it."""

import resource
from uuid import uuid4

import pytest

from support.local_sn import member
from support.processes import Process
from support.swarm import Gate, Swarm, assert_complete, run
from swarmlearning.api.client import Unavailable


def limit_files(process: Process, size: int) -> None:
    """From now on the process can write no file beyond `size` bytes; its disk is full there."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def free(process: Process) -> None:
    limit_files(process, resource.RLIM_INFINITY)


async def register_another(swarm: Swarm) -> None:
    async with member(swarm.address, swarm.identities["SL-3"], str(uuid4())) as node:
        await node.register()


def test_all_sites_wait_while_the_sn_s_disk_is_full_and_nothing_is_lost(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    hold = ("--rounds", "2", "--min-peers", "2", "--hold-at", "1", "--gate", str(gate.path))
    sites = [swarm.start_sl(index, *hold) for index in (1, 2)]
    swarm.until(lambda state: state.result is not None and len(state.result.holders) == 2)
    chain = swarm.directory / "sn" / "chain.sqlite"
    limit_files(swarm.sn, chain.with_name("chain.sqlite-wal").stat().st_size)
    gate.let(2)
    with pytest.raises(Unavailable, match=f"{chain}: cannot write block .*Make room on its disk; nothing is lost"):
        run(register_another(swarm))
    (status,) = swarm.status()["trainings"]
    assert status["rounds"] == 1
    free(swarm.sn)
    assert_complete(sites)
    assert swarm.training(swarm.chain()).rounds == 3
    assert "Traceback" not in swarm.sn.output


def test_a_leader_whose_disk_is_full_is_replaced_and_recovers(swarm: Swarm, gate: Gate) -> None:
    """It can neither fetch the models of the round nor, later, the result, until there is room again."""
    swarm.start_sn()
    hold = ("--rounds", "2", "--size", "16384", "--hold-at", "1", "--gate", str(gate.path))
    sites = {site.ready["uid"]: site for site in [swarm.start_sl(index, *hold) for index in (1, 2, 3)]}
    training = swarm.until(lambda state: state.result is not None and len(state.result.holders) == 3)
    assert training.round is not None
    leader = sites[training.round.leader]
    limit_files(leader, 100_000)
    gate.let(3)
    training = swarm.until(lambda state: state.rounds == 2)
    assert training.result is not None
    assert training.result.leader != leader.ready["uid"]
    assert "free some space or move the data directory to a larger disk" in leader.output
    free(leader)
    assert_complete(list(sites.values()))
    assert all("Traceback" not in site.output for site in sites.values())
