"""The best round's model in the data directory."""

from pathlib import Path

import pytest

from swarmlearning.models.store import TensorStore
from swarmlearning.sl.keepbest import MOST_CANDIDATES, BestModel
from swarmlearning.views.curves import RoundMean


@pytest.fixture
def store(tmp_path: Path) -> TensorStore:
    return TensorStore(tmp_path / "models")


async def model(store: TensorStore, content: bytes) -> str:
    path = store.temporary()
    path.write_bytes(content)
    return (await store.adopt(path)).root


def mean(number: int) -> RoundMean:
    return RoundMean(number, None, 0.5, 2)


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "results").iterdir()}


async def test_the_best_model_stays_when_the_store_needs_its_bytes_no_more(tmp_path: Path, store: TensorStore) -> None:
    best = BestModel(tmp_path, "c-run1", store)
    for number in range(3):
        best.stands(number, await model(store, b"round %d" % number))
        await store.retain(frozenset())
        store.temporary().write_bytes(b"the next model, in a file that is used again")
    assert best.keep(mean(1))
    assert best.path.read_bytes() == b"round 1"
    assert not best.keep(mean(1)), "it is kept already"
    best.close()
    assert files(tmp_path) == {"c-run1-best.safetensors", "c-run1-best.json"}


async def test_a_result_that_this_site_does_not_hold_is_no_candidate(tmp_path: Path, store: TensorStore) -> None:
    best = BestModel(tmp_path, "c-run1", store)
    best.stands(0, "0" * 64)
    assert not best.keep(mean(0))
    assert files(tmp_path) == set()


async def test_what_is_kept_is_known_after_a_restart_and_old_candidates_are_gone(
    tmp_path: Path, store: TensorStore
) -> None:
    first = BestModel(tmp_path, "c-run1", store)
    for number in range(MOST_CANDIDATES + 3):
        first.stands(number, await model(store, b"round %d" % number))
    assert len(files(tmp_path)) == MOST_CANDIDATES
    assert first.keep(mean(MOST_CANDIDATES))
    again = BestModel(tmp_path, "c-run1", store)
    assert again.kept is not None
    assert again.kept.mean == mean(MOST_CANDIDATES)
    assert again.kept.size == again.path.stat().st_size
    assert files(tmp_path) == {"c-run1-best.safetensors", "c-run1-best.json"}


async def test_a_round_merged_again_has_the_newer_model_as_its_candidate(tmp_path: Path, store: TensorStore) -> None:
    best = BestModel(tmp_path, "c-run1", store)
    best.stands(0, await model(store, b"void"))
    best.stands(0, await model(store, b"stands"))
    assert best.keep(mean(0))
    assert best.path.read_bytes() == b"stands"


def test_a_record_that_cannot_be_read_counts_as_none(tmp_path: Path, store: TensorStore) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "c-run1-best.json").write_text("{")
    assert BestModel(tmp_path, "c-run1", store).kept is None
