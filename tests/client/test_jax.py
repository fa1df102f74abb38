"""JAX: plain functions, and the callback for it that docs/extending.md shows, as it stands there."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.callbacks import Join, Log
from support.fake_sl import FakeSL
from support.tools import require
from swarmlearning import Swarm
from swarmlearning.channel.messages import Evaluated, Open, TensorSpec
from swarmlearning.client.errors import SwarmError

require("jax")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402


def test_a_jax_tree_keeps_its_structure_dtypes_and_devices_through_a_merge(
    tmp_path: Path, in_a_swarm: Callable[[FakeSL], None], log: Log
) -> None:
    update = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree))
    first = {"a": jnp.zeros(2, jnp.bfloat16), "b": [jnp.float32(0), jnp.arange(2)]}
    with FakeSL(tmp_path, merge=lambda arrays: arrays) as sl:
        in_a_swarm(sl)
        with Swarm(first, sync_frequency=1, min_peers=1, logger=log.logger) as swarm:
            swarm.step(update(swarm.parameters))
    leaves = jax.tree.leaves(swarm.parameters)
    assert jax.tree.structure(swarm.parameters) == jax.tree.structure(first)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert [(leaf.dtype, leaf.tolist()) for leaf in leaves] == [
        (jnp.bfloat16, [1, 1]),
        (jnp.float32, 1),
        (jnp.int32, [1, 2]),
    ]
    assert [leaf.sharding for leaf in leaves] == [leaf.sharding for leaf in jax.tree.leaves(first)]


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "int4"])
def test_a_jax_array_that_cannot_be_merged_is_refused_before_the_session_opens(
    tmp_path: Path, in_a_swarm: Callable[[FakeSL], None], log: Log, dtype: str
) -> None:
    with FakeSL(tmp_path) as sl:
        in_a_swarm(sl)
        with pytest.raises(SwarmError, match=f"model entry 'a' of type .* cannot be merged: .*dtype {dtype} cannot"):
            Swarm({"a": jnp.zeros(2, dtype), "b": jnp.zeros(2)}, sync_frequency=1, min_peers=1, logger=log.logger)


@pytest.fixture
def jax_callback(written: Callable[[str], Path]) -> Any:
    path = written("Swarm learning for JAX")
    assert len(path.read_text().splitlines()) < 60
    return runpy.run_path(str(path))["SwarmCallback"]


def test_the_documented_callback_for_jax_trains_in_a_swarm(tmp_path: Path, join: Join, jax_callback: Any) -> None:
    data = (jnp.ones(3), 2.0)
    with FakeSL(tmp_path / "sl", merge=lambda arrays: {name: array + 10 for name, array in arrays.items()}) as sl:
        callback = join(
            sl,
            jax_callback,
            syncFrequency=2,
            parameters={"dense": {"kernel": jnp.zeros(3), "bias": jnp.float16(0)}},
            lossFunction=lambda parameters, data: jnp.sum(parameters["dense"]["kernel"] * data[0]) * data[1],
            adsValData=data,
            useAdaptiveSync=True,
        )
        [opened] = sl.of(Open)
        assert opened.structure == (
            TensorSpec("dense.bias", "F16", (), "parameter"),
            TensorSpec("dense.kernel", "F32", (3,), "parameter"),
        )
        assert opened.ml_platform == "JAX"
        callback.on_train_begin()
        for _ in range(2):
            callback.parameters = {"dense": {name: leaf + 1 for name, leaf in callback.parameters["dense"].items()}}
            callback.on_batch_end()
        callback.on_train_end()
        assert [message.loss for message in sl.of(Evaluated)] == [60.0, 132.0, 192.0]
    kernel = callback.parameters["dense"]["kernel"]
    assert (type(kernel), kernel.tolist()) == (type(jnp.zeros(3)), [32.0] * 3)


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"parameters": None}, "no parameters are given: set parameters="),
        ({"adsValData": 1}, "adsValData needs a lossFunction"),
        ({"ml_platform": "FLAX"}, "Invalid ml platform type: FLAX"),
    ],
)
@pytest.mark.usefixtures("loopback")
def test_the_documented_callback_for_jax_refuses_invalid_arguments(
    log: Log, jax_callback: Any, keywords: dict[str, Any], text: str
) -> None:
    with pytest.raises(SwarmError, match=text):
        jax_callback(1, 2, logger=log.logger, **{"parameters": [1.0]} | keywords)
