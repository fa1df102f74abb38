"""A leader that publishes what is no merge: no training script loads it, and none is ended by it."""

from pathlib import Path

import pytest

from support.swarm import Gate, Swarm

HOSTILE_MERGE = """
import numpy as np
from swarmlearning.rounds.events import Merged
from swarmlearning.sl import checking, merging
from swarmlearning.tensors import file

honest = merging.merge_round

async def hostile(task, terms, store, on_read, pin=None, *more):
    done = await honest(task, terms, store, on_read, pin, *more)
    tensors = file.read(store.path(done.result))
    (spoil)
    path = store.temporary()
    path.write_bytes(b"")
    if isinstance(tensors, bytes):
        path.write_bytes(tensors)
    else:
        file.write(path, {name: file.Tensor.of(array, name) for name, array in tensors.items()})
    info = await store.adopt(path, pin, 1)
    return Merged(task.round, task.term, info.root, info.size, done.receipt)

merging.merge_round = hostile
checking.fault_of_result = lambda *arguments: ""
"""

SPOILED = {
    "nan": ("tensors['layer.weight'][3, 1] = np.nan", "tensor 'layer.weight' has NaN or infinity"),
    "infinity": ("tensors['layer.bias'][-1] = -np.inf", "tensor 'layer.bias' has NaN or infinity"),
    "structure": (
        "tensors['layer.wEight'] = tensors.pop('layer.weight')",
        "its structure is not that of this training: ",
    ),
    "garbage": ("tensors = bytes(store.digest_info(done.result).size)", "it cannot be read: "),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_a_leader_s_bad_result_is_reported_and_neither_loaded_nor_the_end_of_a_script(
    kind: str, swarm: Swarm, gate: Gate, tmp_path: Path
) -> None:
    spoil, fault = SPOILED[kind]
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "sitecustomize.py").write_text(HOSTILE_MERGE.replace("(spoil)", spoil))
    swarm.start_sn()
    ml = ("--rounds", "2", "--min-peers", "3", "--hold-at", "0", "--gate", str(gate.path))
    environment = {"SL_MAKE_ME_ADMIN": "False"}
    honest = [swarm.start_sl(index, *ml, environment=environment) for index in (1, 2)]
    swarm.start_sl(3, *ml, environment={"PYTHONPATH": str(hostile)})
    uids = {site.ready["uid"] for site in honest}
    swarm.until(lambda state: len(state.members) == 3)
    gate.let(3)
    swarm.until(lambda state: state.result is not None and uids <= set(state.result.missing))
    for site in honest:
        assert site.running
        assert f"is not used here: {fault}" in site.output
        assert "SYNC 1" not in site.output
