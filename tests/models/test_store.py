"""The store of models on disk: what is held, what is not, and what a full disk or a power loss leaves."""

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from blake3 import blake3

from swarmlearning.models.store import NotHeldError, StoreError, TensorStore
from swarmlearning.tensors.digest import CHUNK, ModelDigest, digest_file

NOT_DIGESTS = ["", "x", "../" + "a" * 61, "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "\n", "a" * 64 + "\n", "á" * 64]
UNKNOWN = "0" * 64


def model(path: Path, size: int = 1000, seed: int = 0) -> Path:
    """A file of `size` bytes that are the same for each seed."""
    path.write_bytes(blake3(seed.to_bytes(4, "little")).digest(size))
    return path


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1])
async def test_adopting_a_model_moves_its_file_into_the_store(size: int, store: TensorStore, tmp_path: Path) -> None:
    source = model(tmp_path / "merged", size)
    content = source.read_bytes()
    info = await store.adopt(source)
    assert not source.exists()
    assert store.has(info.root)
    assert store.digest_info(info.root) == info
    assert store.path(info.root).read_bytes() == content
    assert digest_file(store.path(info.root)) == info


async def test_adopting_a_model_a_second_time_is_harmless(store: TensorStore, tmp_path: Path) -> None:
    first = await store.adopt(model(tmp_path / "a"))
    inode = store.path(first.root).stat().st_ino
    second = await store.adopt(model(tmp_path / "b"))
    assert first == second
    assert not (tmp_path / "b").exists()
    assert store.path(first.root).stat().st_ino == inode


async def test_a_model_is_adopted_from_another_file_system(
    store: TensorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = model(tmp_path / "a")
    replace = Path.replace

    def across(self: Path, target: Path) -> Path:
        if self == source:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", across)
    info = await store.adopt(source)
    assert await store.verify(info.root)
    assert not source.exists()
    assert names(tmp_path / "store") == {f"{info.root}.safetensors", f"{info.root}.chunks"}


async def test_adopting_a_model_follows_no_symbolic_link(store: TensorStore, tmp_path: Path) -> None:
    secret = model(tmp_path / "secret")
    (tmp_path / "link").symlink_to(secret)
    with pytest.raises(StoreError, match=r"link is not a regular file"):
        await store.adopt(tmp_path / "link")
    assert secret.exists()


async def test_adopting_a_missing_file_is_an_error_that_names_it(store: TensorStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"{tmp_path}/nothing: .*No such file"):
        await store.adopt(tmp_path / "nothing")


@pytest.mark.parametrize("name", NOT_DIGESTS)
async def test_the_store_refuses_a_name_that_is_not_a_digest(name: str, store: TensorStore) -> None:
    for method in (store.has, store.path, store.open, store.digest_info, store.partial, store.forget):
        with pytest.raises(StoreError, match="not a model digest"):
            method(name)
    with pytest.raises(StoreError, match="not a model digest"):
        await store.verify(name)


async def test_an_unknown_model_is_not_held(store: TensorStore) -> None:
    assert not store.has(UNKNOWN)
    assert not await store.verify(UNKNOWN)
    for method in (store.path, store.open, store.digest_info):
        with pytest.raises(NotHeldError, match=UNKNOWN):
            method(UNKNOWN)


async def test_the_store_holds_its_models_after_a_restart(store: TensorStore, tmp_path: Path) -> None:
    info = await store.adopt(model(tmp_path / "a", CHUNK + 5))
    again = TensorStore(tmp_path / "store")
    assert again.digest_info(info.root) == info
    assert await again.verify(info.root)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def replaced_by_a_link(path: Path) -> None:
    shutil.copy(path, path.with_name("elsewhere"))
    path.unlink()
    path.symlink_to("elsewhere")


DAMAGES = [truncated, longer, replaced_by_a_link, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("restart", [True, False])
async def test_a_damaged_model_is_not_held(
    damage: Callable[[Path], None], restart: bool, store: TensorStore, tmp_path: Path
) -> None:
    info = await store.adopt(model(tmp_path / "a"))
    other = await store.adopt(model(tmp_path / "b", seed=1))
    damage(store.path(info.root))
    if restart:
        store = TensorStore(tmp_path / "store")
    assert not store.has(info.root)
    with pytest.raises(NotHeldError):
        store.open(info.root)
    assert store.has(other.root)
    await store.adopt(model(tmp_path / "a"))
    assert await store.verify(info.root)


def another_list(path: Path) -> None:
    path.write_bytes(ModelDigest(1000, (b"x" * 32,)).to_bytes())


@pytest.mark.parametrize("damage", [truncated, longer, Path.unlink, another_list])
async def test_a_model_without_its_chunk_list_is_not_held_after_a_restart(
    damage: Callable[[Path], None], store: TensorStore, tmp_path: Path
) -> None:
    info = await store.adopt(model(tmp_path / "a"))
    damage(tmp_path / "store" / f"{info.root}.chunks")
    assert not TensorStore(tmp_path / "store").has(info.root)
    assert names(tmp_path / "store") == set()


async def test_a_model_may_be_named_in_the_second_format(store: TensorStore, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes((16).to_bytes(8, "little") + bytes(16) + b"data")
    info = await store.adopt(tmp_path / "m", format=2)
    assert info.header == 24
    assert await store.verify(info.root)
    assert TensorStore(tmp_path / "store").digest_info(info.root) == info
    with store.path(info.root).open("r+b") as file:
        file.write(b"\xff")
    assert not await store.verify(info.root)


async def test_verifying_a_model_finds_an_altered_byte(store: TensorStore, tmp_path: Path) -> None:
    info = await store.adopt(model(tmp_path / "a", CHUNK + 1000))
    assert await store.verify(info.root)
    with store.path(info.root).open("r+b") as file:
        file.seek(CHUNK + 3)
        byte = file.read(1)
        file.seek(CHUNK + 3)
        file.write(bytes([byte[0] ^ 1]))
    assert store.has(info.root)
    assert not await store.verify(info.root)
    assert not store.has(info.root)


async def test_starting_the_store_removes_temporary_files_and_keeps_partial_downloads(
    store: TensorStore, tmp_path: Path
) -> None:
    directory = tmp_path / "store"
    source = model(tmp_path / "a")
    info = digest_file(source)
    file, resumed = store.open_partial(info)
    assert not resumed
    with file:
        file.write(b"half")
    temporary = store.temporary()
    orphan = directory / f"{UNKNOWN}.chunks"
    orphan.write_bytes(b"")
    no_list = directory / f"{'1' * 64}.partial"
    no_list.write_bytes(b"x")
    assert temporary.exists()
    again = TensorStore(directory)
    assert names(directory) == {f"{info.root}.partial", f"{info.root}.chunks"}
    assert again.partial_info(info.root) == info
    assert again.partial(info.root).read_bytes() == b"half"
    assert not again.has(info.root)


async def test_committing_a_download_makes_it_a_model_that_is_held(store: TensorStore, tmp_path: Path) -> None:
    content = model(tmp_path / "a").read_bytes()
    info = digest_file(tmp_path / "a")
    assert store.partial_info(info.root) is None
    file, resumed = store.open_partial(info)
    assert not resumed
    with file:
        file.write(content)
    path = store.commit(store.partial(info.root), info)
    assert path.read_bytes() == content
    assert store.has(info.root)
    assert store.partial_info(info.root) is None


async def test_retain_removes_all_other_models_and_readers_can_finish(store: TensorStore, tmp_path: Path) -> None:
    kept, dropped = [await store.adopt(model(tmp_path / "m", seed=seed)) for seed in range(2)]
    download = digest_file(model(tmp_path / "p", seed=2))
    store.open_partial(download)[0].close()
    other = tmp_path / "store" / "notes.txt"
    other.write_text("not ours")
    file, info = store.open(dropped.root)
    with file:
        await store.retain({kept.root, UNKNOWN})
        assert not store.has(dropped.root)
        assert len(file.read()) == info.size
    held = {f"{kept.root}.safetensors", f"{kept.root}.chunks", "notes.txt"}
    assert names(tmp_path / "store") == held | {"spare-0.tmp"}


async def test_retain_removes_no_pinned_model_and_no_pinned_download(store: TensorStore, tmp_path: Path) -> None:
    model_pinned, dropped = [await store.adopt(model(tmp_path / "m", seed=seed)) for seed in range(2)]
    download = digest_file(model(tmp_path / "p", seed=2))
    store.open_partial(download)[0].close()
    with store.pinned(model_pinned.root, download.root), store.pinned(model_pinned.root):
        await store.retain(set())
        assert store.held() == {model_pinned.root}
        assert store.partial_info(download.root) == download
        assert not store.has(dropped.root)
    await store.retain(set())
    assert store.held() == frozenset()
    assert store.partial_info(download.root) is None


async def test_an_adopted_model_is_pinned_before_anybody_can_remove_it(store: TensorStore, tmp_path: Path) -> None:
    """While models are adopted others are removed again and again."""
    with store.pinned() as pin:
        adopting = [asyncio.create_task(store.adopt(model(tmp_path / f"{n}", seed=n), pin)) for n in range(50)]
        while not all(task.done() for task in adopting):
            await store.retain(set())
        infos = [task.result() for task in adopting]
        assert store.held() == {info.root for info in infos}
    pin.add(infos[0].root)  # too late: the pin is released
    await store.retain(set())
    assert store.held() == frozenset()


async def test_an_error_on_a_full_disk_names_the_file_and_the_bytes_needed(
    store: TensorStore, tmp_path: Path, largest_file: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "store" / "big"
    with (
        pytest.raises(StoreError, match=r"store/big: the model needs 5000 bytes.*free some"),
        largest_file(1000),
        store.writing(path, 5000),
    ):
        path.write_bytes(b"x" * 5000)


async def test_a_download_that_does_not_fit_on_the_disk_is_refused_at_once(
    store: TensorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = digest_file(model(tmp_path / "a", 1000))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=999))
    with pytest.raises(StoreError, match=r"\.partial: the model needs 1000 bytes, the disk has 999 free"):
        store.open_partial(info)
    assert names(tmp_path / "store") == set()


def test_an_unusable_store_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=f"cannot use {tmp_path}/file/store: Not a directory"):
        TensorStore(tmp_path / "file" / "store")
