"""The examples split their data among sites, run by themselves, and train as a swarm."""

import json
import os
import re
import runpy
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.examples import EXAMPLES, imports, stated_bar
from support.processes import COMMAND, nodes_interpreter, script_interpreter, torch_interpreter
from support.tools import needs
from swarmlearning.tensors import file as tensor_file

Split = Callable[[int, int], tuple[Any, Any]]
"""Index and count of a site to its own data and the held-out data."""


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / "digits" / "train.py"))


@pytest.fixture(scope="module")
def breast_cancer() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / "breast_cancer" / "train.py"))


def rows(data: Any) -> Counter[bytes]:
    """The samples of a dataset."""
    return Counter(row.numpy().tobytes() for row in data.tensors[0])


def check_partition(split: Split, count: int) -> None:
    """Every sample is at one site or held out; the held-out ones are the same for all."""
    everything, held_out = split(0, 1)
    assert not rows(everything) & rows(held_out)
    parts = [split(index, count) for index in range(count)]
    assert sum((rows(mine) for mine, _ in parts), Counter()) == rows(everything)
    assert all(rows(test) == rows(held_out) for _, test in parts)


def batches(data: Any, per_epoch: int) -> int:
    """Batches in an epoch, as the scripts make them."""
    return -(-len(data) // -(-len(data) // per_epoch))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_digit_image_belongs_to_exactly_one_site(digits: dict[str, Any], count: int) -> None:
    check_partition(digits["split"], count)


def test_each_site_lacks_digits_that_the_others_have(digits: dict[str, Any]) -> None:
    for index in range(3):
        mine, test = digits["split"](index, 3)
        assert set(range(10)) - set(mine.tensors[1].tolist()) == {index, index + 5}
        assert set(test.tensors[1].tolist()) == set(range(10))


def test_the_sites_with_digits_differ_in_size_and_make_the_same_number_of_steps(digits: dict[str, Any]) -> None:
    data = [digits["split"](index, 3)[0] for index in range(3)]
    sizes = [len(each) for each in data]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] > 2 * sizes[0]
    assert [batches(each, digits["BATCHES"]) for each in data] == [digits["BATCHES"]] * 3


@pytest.mark.parametrize("count", [1, 5])
def test_every_patient_belongs_to_exactly_one_hospital(breast_cancer: dict[str, Any], count: int) -> None:
    check_partition(breast_cancer["split"], count)


def test_the_hospitals_differ_in_size_and_make_the_same_number_of_steps(breast_cancer: dict[str, Any]) -> None:
    data = [breast_cancer["split"](index, 5)[0] for index in range(5)]
    assert [len(each) for each in data] == sorted({len(each) for each in data})
    assert [batches(each, breast_cancer["BATCHES"]) for each in data] == [breast_cancer["BATCHES"]] * 5


FRAMEWORK = {"jax": "jax", "keras_tabular": "keras", "huggingface": "huggingface", "lightning": "lightning"}
"""Examples that run where their framework is."""

SMALL = {"fashion_mnist": {"IMAGES": "4000", "MAX_EPOCHS": "3"}}
"""Examples that take long are made smaller."""

WITH_TORCH = {"breast_cancer", "digits", "fashion_mnist"}
"""Examples that import what others of this process' tests have imported for them."""

COMPILED_ONCE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
"""What the run without a swarm has compiled, the sites need not compile again: half of an example with JAX."""

NAMES = [
    pytest.param(name, marks=[needs(FRAMEWORK[name])] if name in FRAMEWORK else [])
    for name in sorted(script.parent.name for script in EXAMPLES.glob("*/train.py"))
]
"""All there are: a new one is not forgotten."""


@pytest.mark.parametrize("name", [name for name in NAMES if name.values != ("digits",)])
def test_an_example_reaches_its_accuracy_without_a_swarm_and_as_a_swarm_of_three(name: str, tmp_path: Path) -> None:
    """In one test, with an adapter where an example has that too: the framework is imported once."""
    variables = SMALL.get(name, {})
    if name == "jax":
        variables = {**COMPILED_ONCE, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    with forking(name, tmp_path, variables) as python:
        run_alone(name, python, tmp_path / "alone", **variables)
        run_as_three(name, python, tmp_path, **variables)
        written = list((tmp_path / "runs" / "latest" / "sites").glob("*/metrics.json"))
        assert len(written) == 3
        assert all(json.loads(path.read_text())["accuracy"] >= stated_bar(name) for path in written)
        if name == "huggingface":
            check_adapter(python, tmp_path / "adapter")


def check_adapter(python: str, folder: Path) -> None:
    """An adapter trains as a swarm of three."""
    folder.mkdir()
    report = run_as_three("huggingface", python, folder, HF_MODE="peft")
    model = folder / "runs" / "latest" / "sites" / "site-1" / "model.safetensors"
    assert all("lora_" in name or "classifier" in name for name, _, _ in tensor_file.read_header(model).specs)
    assert report["digests"]["site-1"] == report["model"]


def test_the_digits_reach_their_accuracy_without_a_swarm(tmp_path: Path) -> None:
    """As a swarm they are the demo: test_demo.py."""
    with forking("digits", tmp_path, {}) as python:
        run_alone("digits", python, tmp_path / "alone")


@contextmanager
def forking(name: str, folder: Path, variables: dict[str, str]) -> Iterator[str]:
    """Yields a command used like `python` by which the example starts without its imports."""
    if name in WITH_TORCH:
        yield torch_interpreter(folder / "script-python")
    else:
        with script_interpreter(folder, imports(name), variables) as python:
            yield python


def run_alone(name: str, python: str, folder: Path, **more: str) -> None:
    """Runs an example in an empty folder, where it leaves nothing."""
    folder.mkdir()
    shown = subprocess.run(
        [python, EXAMPLES / name / "train.py"],
        env={**os.environ, "SWARM_LOOPBACK": "True", "OMP_NUM_THREADS": "1", **more},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    [reached] = re.findall(r"accuracy ([01]\.\d+)", shown.stdout.splitlines()[-1])
    assert float(reached) >= stated_bar(name)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_a_readme_with_its_commands_and_accuracy(name: str) -> None:
    """Its README has the commands, in a swarm and without one, and the accuracy to expect."""
    text = (EXAMPLES / name / "README.md").read_text()
    assert len(text.splitlines()) <= 15
    assert f"-- python examples/{name}/train.py" in text
    assert f"SWARM_LOOPBACK=True python examples/{name}/train.py" in text
    assert stated_bar(name) > 0.5


def run_as_three(name: str, python: str, tmp_path: Path, **more: str) -> Any:
    """`swarm run -n 3` with an example, which this command runs; the report."""
    swarm = [nodes_interpreter(tmp_path), *COMMAND[1:]]
    options: list[str | Path] = ["-n", "3", "--no-live", "--runs-dir", tmp_path / "runs"]
    shown = subprocess.run(
        [*swarm, "run", *options, "--", python, EXAMPLES / name / "train.py"],
        env={**os.environ, "MAX_EPOCHS": "10", **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert shown.returncode == 0, shown.stdout
    report = json.loads((tmp_path / "runs" / "latest" / "report.json").read_text())
    assert set(report["digests"].values()) == {report["model"]}
    assert report["ledger_verified"] is True
    assert all(len(each["contributors"]) == 3 for each in report["rounds"])
    return report
