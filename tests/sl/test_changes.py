"""A site's coded changes and their residuals, as they lie on its disk: also after a restart and a loss."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from merge.model_files import save
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.rounds.events import Release, Released
from swarmlearning.sl import changes
from swarmlearning.sl.changes import Changes
from swarmlearning.sl.codings import Codings
from swarmlearning.tensors.digest import digest_laid_out

SHAPE = (40, 40)
CONTRACT = "study"


class Site:
    """A site whose script makes models at random."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dice = np.random.default_rng(1)
        self.start()

    def start(self) -> None:
        self.store = TensorStore(self.folder / "models")
        self.codings = Codings(self.store)
        self.changes = Changes(self.folder, self.store, self.codings)

    async def model(self, scale: float = 1.0) -> str:
        path = save(self.folder / "model", {"w": scale * self.dice.standard_normal(SHAPE), "b": np.ones(3)})
        return (await self.store.adopt(path, format=2)).root

    async def task(self, number: int = 1, residual: str | None = "") -> Release:
        return Release(1, number, await self.model(), await self.model(), "int4", residual)

    async def release(self, task: Release) -> Released:
        with self.store.pinned() as pin:
            return await self.changes.release(task, CONTRACT, pin)

    @property
    def residuals(self) -> set[str]:
        return {path.name for path in (self.folder / "residuals").glob("*")}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_a_change_is_in_the_store_under_its_own_name_with_its_rest_beside(site: Site) -> None:
    task = await site.task()
    done = await site.release(task)
    info = site.store.digest_info(done.result)
    assert info.layout.is_coded
    assert digest_laid_out(site.store.path(done.result), info.layout) == info
    assert await site.store.verify(done.result)
    assert (done.size, done.privacy) == (site.store.digest_info(task.digest).size, None)
    assert site.residuals == {done.result}
    assert (site.folder / "residuals" / done.result).stat().st_mode & 0o077 == 0
    assert TensorStore(site.folder / "models").held() == {task.base, task.digest, done.result}


async def test_the_same_task_gives_the_same_change_also_after_a_restart_and_another_rest_another_one(
    site: Site,
) -> None:
    task = await site.task()
    first = await site.release(task)
    site.start()
    assert site.changes.released(CONTRACT) == (first,)
    assert await site.release(task) == first
    site.store.forget(first.result)
    assert await site.release(task) == first
    other = await site.release(msgspec.structs.replace(task, residual=first.result))
    assert other.result != first.result
    assert site.changes.released("other") == ()


async def test_a_rest_that_is_lost_or_of_another_model_is_as_none(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    task = await site.task()
    without = await site.release(task)
    for run, content in enumerate((None, b"\x01" * 8), 2):
        lost = "ab" * 32
        if content is not None:
            (site.folder / "residuals" / lost).write_bytes(content)
        assert (await site.release(msgspec.structs.replace(task, residual=lost, run=run))).result == without.result
        assert "had left out of change abababababababab is lost" in caplog.text
        caplog.clear()


async def test_no_more_residuals_are_kept_than_a_void_result_needs(site: Site) -> None:
    made = [""]
    for number in range(1, 8):
        made.append((await site.release(await site.task(number, made[-1]))).result)
    assert len(site.residuals) == changes.KEPT
    assert {made[-1], made[-2], made[-3]} <= site.residuals


async def test_medians_have_no_rest(site: Site) -> None:
    await site.release(await site.task(residual=None))
    assert site.residuals == set()


async def test_a_rest_that_is_larger_than_what_is_trained_for_three_rounds_is_dropped(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    base, before = await site.model(), ""
    for number in range(1, changes.GROWING + 1):
        assert "it is dropped" not in caplog.text
        before = (await site.release(Release(1, number, base, base, "int4", before))).result
        residual = site.folder / "residuals" / before
        if number == 1:
            residual.write_bytes(np.full(SHAPE, 0.3, np.float32).tobytes())  # far more than a change of nothing
    assert residual.stat().st_size or "it is dropped" in caplog.text


async def test_what_a_change_is_like_is_known_and_whether_its_rest_was_dropped(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    task = await site.task()
    done = await site.release(task)
    change = site.changes.last
    assert change is not None
    assert (change.transfer, change.bytes, change.whole) == (
        "int4",
        site.store.digest_info(done.result).size,
        done.size,
    )
    assert change.bytes < change.whole / 4
    assert change.change is not None
    assert change.residual is not None
    assert 0 < change.residual < change.change / 4
    before = done.result
    for number in range(2, 2 + changes.GROWING):
        assert "it is dropped" not in caplog.text
        (site.folder / "residuals" / before).write_bytes(np.full(SHAPE, 0.3, np.float32).tobytes())
        before = (await site.release(Release(1, number, task.base, task.base, "int4", before))).result
    assert site.changes.last is not None
    assert site.changes.last.dropped
    assert "it is dropped" in caplog.text
    assert (site.folder / "residuals" / before).stat().st_size == 0


async def test_a_change_of_a_model_of_another_structure_is_a_failure_of_this_node(site: Site) -> None:
    base = await site.model()
    other = (await site.store.adopt(save(site.folder / "other", {"v": np.ones(SHAPE)}), format=2)).root
    with pytest.raises(StoreError, match=r"cannot be coded: .* has another structure"):
        await site.release(Release(1, 1, base, other, "int4", ""))
    assert site.changes.released(CONTRACT) == ()
    assert not list((site.folder / "models").glob("*.tmp"))
