"""What docs/extending.md shows of the client runs as it stands there."""

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.callbacks import Join, Log
from support.fake_sl import FakeSL
from support.tools import needs
from swarmlearning.channel.messages import Evaluated, Open, TensorSpec
from swarmlearning.client.errors import SwarmError

EXTENDING = Path(__file__).parents[2] / "docs" / "extending.md"


def written(tmp_path: Path, beginning: str) -> Path:
    """The one example that begins with these words, as a file."""
    (example,) = re.findall(rf'```python\n("""{beginning}.*?)```', EXTENDING.read_text(), re.DOTALL)
    path = tmp_path / "example.py"
    path.write_text(example)
    return path


@pytest.fixture
def in_a_swarm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that names the SL node to what is made next."""
    monkeypatch.delenv("SWARM_LOOPBACK", raising=False)

    def use(sl: FakeSL) -> None:
        monkeypatch.setenv("SWARM_CHANNEL", str(sl.path))

    return use


def test_plain_functions(tmp_path: Path, in_a_swarm: Any) -> None:
    script = written(tmp_path, "Each site draws")
    with FakeSL(tmp_path / "sl") as sl:
        in_a_swarm(sl)
        shown = runpy.run_path(str(script))
    weights = shown["swarm"].parameters["weights"]
    assert np.argsort(weights).tolist() == [1, 3, 0, 2]  # as in the problem: 1, -2, 3, 0
    assert len(sl.models) == 1 + 5 + 1
    assert sorted(sl.models[0]) == ["bias", "weights"]


@pytest.mark.usefixtures("loopback")
def test_plain_functions_without_a_swarm(tmp_path: Path) -> None:
    shown = runpy.run_path(str(written(tmp_path, "Each site draws")))
    assert shown["swarm"].parameters is shown["parameters"]


@needs("jax")
def test_plain_functions_of_jax(tmp_path: Path, in_a_swarm: Any, log: Log) -> None:
    import jax
    import jax.numpy as jnp

    from swarmlearning import Swarm

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


@pytest.fixture
def jax_callback(tmp_path: Path) -> Any:
    path = written(tmp_path, "Swarm learning for JAX")
    assert len(path.read_text().splitlines()) < 60
    return runpy.run_path(str(path))["SwarmCallback"]


@needs("jax")
def test_the_callback_for_jax(tmp_path: Path, join: Join, jax_callback: Any) -> None:
    import jax.numpy as jnp

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
        assert opened.structure == (TensorSpec("dense.bias", "F16", ()), TensorSpec("dense.kernel", "F32", (3,)))
        assert opened.ml_platform == "JAX"
        callback.on_train_begin()
        for _ in range(2):
            callback.parameters = {"dense": {name: leaf + 1 for name, leaf in callback.parameters["dense"].items()}}
            callback.on_batch_end()
        callback.on_train_end()
        assert [message.loss for message in sl.of(Evaluated)] == [60.0, 132.0, 192.0]
    kernel = callback.parameters["dense"]["kernel"]
    assert (type(kernel), kernel.tolist()) == (type(jnp.zeros(3)), [32.0] * 3)


@needs("jax")
@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"parameters": None}, "JAX parameters are None"),
        ({"adsValData": 1}, "adsValData needs a lossFunction"),
        ({"ml_platform": "FLAX"}, "Invalid ml platform type: FLAX"),
    ],
)
@pytest.mark.usefixtures("loopback")
def test_what_the_callback_for_jax_refuses(log: Log, jax_callback: Any, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError, match=text):
        jax_callback(1, 2, logger=log.logger, **{"parameters": [1.0]} | keywords)
