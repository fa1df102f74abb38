"""Files that are overwritten rather than replaced: never under a reader, never more than rounds need."""

import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarmlearning.models.spares import Spares
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.tensors.digest import ModelDigest, digest_file

SIZE = 5000


def model(path: Path, seed: int = 0, size: int = SIZE) -> Path:
    path.write_bytes(seed.to_bytes(4, "little") * (size // 4))
    return path


@pytest.fixture
def store(tmp_path: Path) -> TensorStore:
    return TensorStore(tmp_path / "store")


@pytest.fixture
def spares(tmp_path: Path) -> Spares:
    (tmp_path / "spares").mkdir()
    return Spares(tmp_path / "spares")


async def dropped(store: TensorStore, tmp_path: Path, count: int = 1) -> list[int]:
    """Inodes of so many models that were held and are not needed any more."""
    infos = [await store.adopt(model(tmp_path / "model", seed)) for seed in range(count)]
    inodes = [store.path(info.root).stat().st_ino for info in infos]
    await store.retain(set())
    return inodes


def test_a_spare_file_that_nobody_has_open_is_given_out_once(spares: Spares, tmp_path: Path) -> None:
    inode = model(tmp_path / "a").stat().st_ino
    spares.put(tmp_path / "a")
    assert len(spares) == 1
    taken = spares.take()
    assert taken is not None
    assert taken.stat().st_ino == inode
    assert taken.suffix == ".tmp"
    assert spares.take() is None


def test_a_spare_file_that_is_being_read_is_not_given_out(spares: Spares, tmp_path: Path) -> None:
    with model(tmp_path / "a").open("rb") as reader:
        spares.put(tmp_path / "a")
        assert spares.take() is None
        assert len(reader.read()) == SIZE
    assert list((tmp_path / "spares").iterdir()) == []


def test_a_spare_file_that_is_mapped_is_not_given_out(spares: Spares, tmp_path: Path) -> None:
    with model(tmp_path / "a").open("rb") as reader:
        mapped = mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ)
    spares.put(tmp_path / "a")
    assert spares.take() is None
    mapped.close()


def test_a_spare_file_that_another_process_reads_is_not_given_out(spares: Spares, tmp_path: Path) -> None:
    script = "import sys; file = open(sys.argv[1], 'rb'); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(model(tmp_path / "a"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"open\n"
        spares.put(tmp_path / "a")
        assert spares.take() is None


def test_a_spare_file_that_has_a_second_link_is_not_given_out(spares: Spares, tmp_path: Path) -> None:
    os.link(model(tmp_path / "a"), tmp_path / "delivered")
    spares.put(tmp_path / "a")
    assert spares.take() is None
    assert (tmp_path / "delivered").stat().st_size == SIZE


async def test_the_next_merge_is_written_over_a_model_that_was_dropped(store: TensorStore, tmp_path: Path) -> None:
    (inode,) = await dropped(store, tmp_path)
    assert store.temporary().stat().st_ino == inode


async def test_the_next_download_is_written_over_a_model_that_was_dropped(store: TensorStore, tmp_path: Path) -> None:
    (inode,) = await dropped(store, tmp_path)
    smaller = digest_file(model(tmp_path / "b", size=SIZE - 1000))
    file, resumed = store.open_partial(smaller)
    with file:
        assert not resumed
        assert os.fstat(file.fileno()).st_ino == inode
        assert os.fstat(file.fileno()).st_size == SIZE - 1000  # none of the old bytes behind it


async def test_a_dropped_model_is_lent_to_the_process_that_writes_the_next_one(
    store: TensorStore, tmp_path: Path
) -> None:
    inodes = await dropped(store, tmp_path, 2)
    for _ in range(2):  # the second time it is there already
        store.lend(tmp_path / "spare")
    store.lend(tmp_path / "other")
    assert {(tmp_path / name).stat().st_ino for name in ("spare", "other")} == set(inodes)
    store.lend(tmp_path / "third")
    assert not (tmp_path / "third").exists()


async def test_the_store_keeps_only_one_file_more_than_models_were_needed_at_once(
    store: TensorStore, tmp_path: Path
) -> None:
    for start in range(0, 9, 3):
        held = [await store.adopt(model(tmp_path / "model", seed)) for seed in range(start, start + 3)]
        await store.retain({held[0].root})
        assert len(list((tmp_path / "store").glob("*.tmp"))) == (2 if start == 0 else 4)


async def test_the_bytes_of_all_spare_files_are_bounded(
    store: TensorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmlearning.models.store._SPARE_BYTES", 3 * SIZE)
    await dropped(store, tmp_path, 7)
    assert len(list((tmp_path / "store").glob("*.tmp"))) == 3


async def test_no_spare_files_are_kept_on_a_disk_that_is_nearly_full(
    store: TensorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=SIZE))
    await dropped(store, tmp_path)
    assert list((tmp_path / "store").iterdir()) == []


async def test_spare_files_are_removed_when_a_model_needs_their_room(
    store: TensorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dropped(store, tmp_path, 2)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=SIZE))
    with pytest.raises(StoreError, match="the disk has 5000 free"):
        store.open_partial(ModelDigest(3 * SIZE, (bytes(32),)))
    assert [path.suffix for path in (tmp_path / "store").iterdir()] == [".partial"]  # one of the two
    assert store.temporary().stat().st_size == 0


async def test_a_restart_removes_spare_files(store: TensorStore, tmp_path: Path) -> None:
    await dropped(store, tmp_path)
    TensorStore(tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []
