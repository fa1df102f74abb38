"""Several ranks of one training are one site: one of them has the SL node, all get what is merged."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from support.examples import LATER_IN_TORCH
from support.fake_sl import HANG_UP, FakeSL, Reply, plus
from support.processes import script_interpreter
from support.tools import needs
from swarmlearning.channel.messages import Close, FromML, Kill, Open, Sync

SUPPORT = Path(__file__).parents[1] / "support"

TORCH = f"import torch.distributed, torch.nn.parallel, torch.utils.data, swarmlearning.pyt, {LATER_IN_TORCH}"
FRAMEWORKS = {
    "huggingface": f"from transformers import Trainer; import swarmlearning.hf_transformers, {LATER_IN_TORCH}",
    "accelerate": f"import accelerate, swarmlearning.pyt, {LATER_IN_TORCH}",
    "lightning": f"import lightning.pytorch, swarmlearning.lightning, {LATER_IN_TORCH}",
}
"""Imports what the ranks of a training need, once for all of them."""


class Ranks:
    """Starts the ranks of one training with the command `python`; only the first knows of the SL node."""

    def __init__(self, directory: Path, python: str) -> None:
        self._directory = directory
        self._python = python
        self._started: list[subprocess.Popen[str]] = []

    def run(self, sl: FakeSL, syncs: int = 2, size: int = 2, **variables: Any) -> list[tuple[int, str]]:
        """Exit status and output of each."""
        rendezvous = self._directory / "rendezvous"
        return self._run(sl, [(["rank.py", rank, size, rendezvous, syncs], variables) for rank in range(size)])

    def run_framework(self, sl: FakeSL, name: str) -> list[tuple[int, str]]:
        """The same for two ranks that a framework brings together."""
        # as torchrun's: at a port that is free
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        shared = {
            "TORCHELASTIC_USE_AGENT_STORE": True,  # no rank opens one
            "WORLD_SIZE": 2,
            "LOCAL_WORLD_SIZE": 2,
            "NODE_RANK": 0,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": store.port,
        }
        return self._run(
            sl, [(["framework_rank.py", name], {**shared, "RANK": rank, "LOCAL_RANK": rank}) for rank in range(2)]
        )

    def _run(self, sl: FakeSL, ranks: list[tuple[list[Any], dict[str, Any]]]) -> list[tuple[int, str]]:
        shared = {name: value for name, value in os.environ.items() if not name.startswith("SWARM_")}
        for rank, (arguments, variables) in enumerate(ranks):
            own = {"SWARM_CHANNEL": str(sl.path), "SWARM_RECONNECT_SECONDS": "0"} if rank == 0 else {}
            own |= {name: str(value) for name, value in variables.items()}
            script, *rest = map(str, arguments)
            command = [self._python, str(SUPPORT / script), *rest]
            self._started.append(
                subprocess.Popen(command, env=shared | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            )
        outputs = [process.communicate(timeout=300)[0] for process in self._started]
        return [(process.returncode, output) for process, output in zip(self._started, outputs, strict=True)]

    def kill(self, rank: int) -> None:
        self._started[rank].kill()

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def torch_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A command that is used like `python`, whose scripts find PyTorch imported."""
    with script_interpreter(tmp_path_factory.mktemp("python"), TORCH, {}) as python:
        yield python


@pytest.fixture
def ranks(tmp_path: Path, torch_python: str) -> Iterator[Ranks]:
    with ended(Ranks(tmp_path, torch_python)) as made:
        yield made


@contextmanager
def ended(ranks: Ranks) -> Iterator[Ranks]:
    """Ends these ranks with the block."""
    try:
        yield ranks
    finally:
        ranks.end()


def lines(output: str, word: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(word)]


def test_one_rank_syncs_and_all_ranks_load_the_merged_model(tmp_path: Path, ranks: Ranks) -> None:
    with FakeSL(tmp_path / "sl", merge=plus(1)) as sl:
        (first, output), (second, other) = ranks.run(sl)
        assert (first, second) == (0, 0), output + other
        assert len(sl.of(Open)) == 1
        assert len(sl.of(Sync)) == 3
        assert len(sl.of(Close)) == 1
        names = [spec.name for spec in sl.of(Open)[0].structure]
    assert not any(name.startswith("module.") for name in names)
    assert lines(output, "NAMES") == lines(other, "NAMES")
    assert lines(output, "DIGEST") == lines(other, "DIGEST") != []
    assert lines(output, "LOSS") == lines(other, "LOSS")  # all evaluate, at the same time
    assert len(lines(output, "LOSS")) == 4
    assert "Final Swarm model was loaded" in other


def test_the_end_of_swarm_training_reaches_all_ranks(tmp_path: Path, ranks: Ranks) -> None:
    with FakeSL(tmp_path / "sl", merge=plus(1), over_at=2) as sl:
        (first, output), (second, other) = ranks.run(sl)
        assert (first, second) == (0, 0), output + other
        assert len(sl.of(Sync)) == 2
        assert len(sl.of(Kill)) == 1
    assert lines(output, "OVER") == lines(other, "OVER") == ["OVER True"]
    assert lines(output, "DIGEST") == lines(other, "DIGEST") != []


@pytest.mark.parametrize("at", [Open, Sync])
def test_an_error_of_the_rank_that_syncs_ends_all_ranks(tmp_path: Path, ranks: Ranks, at: Any) -> None:
    def answers(message: FromML) -> list[Reply] | None:
        return [HANG_UP] if isinstance(message, at) else None

    with FakeSL(tmp_path / "sl", answers=answers) as sl:
        (first, output), (second, other) = ranks.run(sl)
    assert (first, second) == (1, 1), output + other
    [error] = lines(other, "SwarmError: ")
    assert "rank 0: " in error
    assert "went away" in error


def test_a_merged_model_that_cannot_be_read_ends_all_ranks(tmp_path: Path, ranks: Ranks) -> None:
    def answers(message: FromML) -> list[Reply] | None:
        if not isinstance(message, Sync):
            return None
        sl.merged_path.write_bytes(b"this is no model")
        return [sl.merged()]

    with FakeSL(tmp_path / "sl", answers=answers) as sl:
        (first, output), (second, other) = ranks.run(sl)
    assert (first, second) == (1, 1), output + other
    for text in (output, other):
        [error] = lines(text, "SwarmError: ")
        assert "announces a header of" in error


@pytest.mark.parametrize("failing", [0, 1])
def test_a_rank_that_cannot_evaluate_the_merged_model_ends_all_ranks(
    tmp_path: Path, ranks: Ranks, failing: int
) -> None:
    with FakeSL(tmp_path / "sl") as sl:
        outcomes = ranks.run(sl, FAILING_RANK=failing)
    assert [status for status, _ in outcomes] == [1, 1], outcomes
    [own] = lines(outcomes[failing][1], "SwarmError: ")
    assert "could not be loaded and evaluated: on the validation data, ValueError: no evaluation here" in own
    [other] = lines(outcomes[1 - failing][1], "SwarmError: ")
    assert ("rank 0: " if failing == 0 else "another rank of this training has failed, has ended,") in other


@pytest.mark.parametrize(
    ("batches", "places"),
    [
        ("20 17", "rank 0 is at sync 10, rank 1 is at on_train_end"),
        ("16 21", "rank 0 is at on_train_end, rank 1 is at sync 10"),
        ("8 8 6", "rank 0 is at sync 5, rank 2 is at on_train_end"),
    ],
)
def test_ranks_that_reach_different_hooks_all_end_with_an_error_that_names_both(
    tmp_path: Path, ranks: Ranks, batches: str, places: str
) -> None:
    size = len(batches.split())
    with FakeSL(tmp_path / "sl", merge=plus(1)) as sl:
        outcomes = ranks.run(sl, size=size, BATCHES=batches)
        assert [status for status, _ in outcomes] == [1] * size, outcomes
        [killed] = sl.of(Kill)
        assert (killed.ok, places in killed.message) == (False, True)
        assert sl.of(Close) == []
    for _, output in outcomes:
        [error] = lines(output, "SwarmError: ")
        assert f"the ranks of this training are not at the same place: {places}. All ranks have to call" in error
        assert "Final Swarm model was loaded" not in output


@pytest.mark.parametrize("batches", ["20 17", "17 20"])
def test_a_rank_that_does_not_arrive_is_an_error_after_swarm_rank_seconds(
    tmp_path: Path, ranks: Ranks, batches: str
) -> None:
    """It waits within model.join() for the batches of the other."""
    with FakeSL(tmp_path / "sl", merge=plus(1)) as sl:
        outcomes = ranks.run(sl, BATCHES=batches, JOIN=1, ALONE=1, SWARM_RANK_SECONDS=3)
    assert all(status for status, _ in outcomes), outcomes
    output = outcomes[0 if batches == "20 17" else 1][1]
    [error] = lines(output, "SwarmError: ")
    assert "did not come within 3 s" in error
    assert "model.join() covers batches, not hooks" in error


def test_ranks_wait_for_other_sites_longer_than_for_each_other(tmp_path: Path, ranks: Ranks) -> None:
    apart = 8.0
    asked: set[type[FromML]] = set()

    def answers(message: FromML) -> None:
        if isinstance(message, Open | Sync) and type(message) not in asked:
            asked.add(type(message))
            threading.Event().wait(1.5 * apart)

    with FakeSL(tmp_path / "sl", merge=plus(1), answers=answers) as sl:
        outcomes = ranks.run(sl, syncs=1, SWARM_RANK_SECONDS=apart)
    assert [status for status, _ in outcomes] == [0, 0], outcomes
    assert asked == {Open, Sync}


def test_the_death_of_a_rank_is_noticed_at_once_while_another_waits_for_other_sites(
    tmp_path: Path, ranks: Ranks
) -> None:
    left = threading.Event()

    def answers(message: FromML) -> list[Reply] | None:
        if not isinstance(message, Sync):
            return None
        ranks.kill(1)
        left.wait(60)
        return []

    with FakeSL(tmp_path / "sl", answers=answers) as sl:
        (first, output), (second, _) = ranks.run(sl, ALONE=1, SWARM_RANK_SECONDS=20)
        left.set()
    assert (first, second) == (1, -signal.SIGKILL), output
    [error] = lines(output, "SwarmError: ")
    assert "another rank of this training has failed, has ended, or did not come" in error


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("huggingface", marks=needs("huggingface")),
        pytest.param("accelerate", marks=needs("huggingface")),
        pytest.param("lightning", marks=needs("lightning")),
    ],
)
def test_the_ranks_of_a_framework_train_as_one_site(tmp_path: Path, name: str) -> None:
    """Those of the Trainer evaluate together: had only one of them begun to, it would wait for the other for ever."""
    with (
        script_interpreter(tmp_path, FRAMEWORKS[name], {}) as python,
        ended(Ranks(tmp_path, python)) as ranks,
        FakeSL(tmp_path / "sl", merge=plus(1)) as sl,
    ):
        (first, output), (second, other) = ranks.run_framework(sl, name)
        assert (first, second) == (0, 0), output + other
        assert len(sl.of(Open)) == 1
        assert len(sl.of(Sync)) == 1 + 2  # each rank has half of the batches: 2 epochs of 4
    assert lines(output, "DIGEST") == lines(other, "DIGEST") != []
    if name != "lightning":
        assert lines(output, "LOSS") == lines(other, "LOSS")
        assert len(lines(output, "LOSS")) == 4
