"""Fetching a model over real mTLS: its requests and connections, and callers that share one download."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from support.faulty_holder import CONTENT, SIZE, UNKNOWN, Hold, begin, fetching
from support.gencert import gen_cert
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import server_context
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.models.transfer import Fetcher, TransferError
from swarmlearning.tensors.digest import CHUNK

Identities = dict[str, Identity]


async def test_fetching_a_model_takes_one_request_and_a_held_model_none(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    holder = await hold()
    path = await fetcher.fetch(digest, [holder.source])
    assert path.read_bytes() == CONTENT
    assert path == store.path(digest)
    assert holder.requests == ["/bundle"]
    assert await fetcher.fetch(digest, []) == path  # it is held now
    assert holder.requests == ["/bundle"]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
async def test_models_of_any_size_are_fetched_whole(
    size: int, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    holder = await hold(content=CONTENT[:size])
    wanted = holder.store.digest_info(next(iter(holder.store._held)))
    path = await fetcher.fetch(wanted.root, [holder.source])
    assert path.read_bytes() == CONTENT[:size]
    assert store.digest_info(wanted.root) == wanted


async def test_a_model_is_fetched_with_certificates_of_the_original(
    digest: str, hold: Hold, tmp_path: Path, store: TensorStore
) -> None:
    old = gen_cert(tmp_path / "old")
    holder = await hold(identity=old["SL-1"])
    async with fetching(old["SL-1"], store) as fetcher:  # two SLs of a host share one
        await fetcher.fetch(digest, [holder.source])
    assert store.has(digest)


async def test_one_connection_serves_several_fetches(
    hold: Hold, fetcher: Fetcher, digest: str, store: TensorStore
) -> None:
    holder = await hold()
    for _ in range(3):
        await fetcher.fetch(digest, [holder.source])
        await store.retain(set())
    with pytest.raises(TransferError):
        await fetcher.fetch(UNKNOWN, [holder.source])
    await fetcher.fetch(digest, [holder.source])
    assert len(holder.requests) == 5
    assert len(holder.connections) == 1


async def test_a_connection_that_the_server_has_closed_is_replaced(
    identities: Identities, digest: str, fetcher: Fetcher, store: TensorStore, hold: Hold
) -> None:
    holder = await hold()
    server = Server(holder.app(), server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    source = ("127.0.0.1", server.port)
    await fetcher.fetch(digest, [source])
    await server.stop()
    again = Server(holder.app(), server_context(identities["SL-1"]), *source)
    await again.start()
    await store.retain(set())
    await fetcher.fetch(digest, [source])
    assert len(holder.connections) == 2
    await fetcher.close()
    await again.stop()


async def test_a_connection_that_was_idle_too_long_is_not_used_again(
    identities: Identities, digest: str, store: TensorStore, hold: Hold
) -> None:
    holder = await hold()
    async with fetching(identities["SL-2"], store, idle_seconds=0) as fetcher:
        for _ in range(2):
            await fetcher.fetch(digest, [holder.source])
            await store.retain(set())
    assert len(holder.connections) == 2


async def test_callers_that_fetch_the_same_model_share_one_download(digest: str, hold: Hold, fetcher: Fetcher) -> None:
    holder = await hold()
    paths = await asyncio.gather(*[fetcher.fetch(digest, [holder.source]) for _ in range(5)])
    assert len(set(paths)) == 1
    assert holder.requests == ["/bundle"]


async def test_a_shared_download_uses_the_sources_of_all_callers_and_goes_on_while_one_waits(
    digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    stalling, good = await hold(stall=1_000_000), await hold()
    first = await begin(fetcher, digest, [stalling.source])
    await stalling.stalled.wait()
    second = asyncio.create_task(fetcher.fetch(digest, [good.source]))
    await asyncio.sleep(0)  # it has joined
    first.cancel()
    assert not stalling.left.is_set()
    await stalling.server.stop(grace=0.1)
    path = await second
    assert path.read_bytes() == CONTENT


async def test_downloads_of_several_models_run_concurrently(digest: str, hold: Hold, fetcher: Fetcher) -> None:
    stalling, other = await hold(stall=1000), await hold(content=b"other")
    waiting = asyncio.create_task(fetcher.fetch(digest, [stalling.source]))
    await stalling.stalled.wait()
    await fetcher.fetch(next(iter(other.store._held)), [other.source])
    assert not waiting.done()
    waiting.cancel()


async def test_a_download_that_is_cancelled_in_the_queue_sends_no_request(
    identities: Identities, digest: str, hold: Hold, store: TensorStore
) -> None:
    stalling, other = await hold(stall=1000), await hold(content=b"other")
    async with fetching(identities["SL-2"], store, workers=1) as fetcher:
        first = asyncio.create_task(fetcher.fetch(digest, [stalling.source]))
        await stalling.stalled.wait()
        queued = asyncio.create_task(fetcher.fetch(next(iter(other.store._held)), [other.source]))
        await asyncio.sleep(0)  # it is in the queue
        queued.cancel()
        first.cancel()
        await asyncio.wait([first, queued])
    assert other.requests == []


async def test_retain_removes_no_file_of_a_running_download(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    stalling, good = await hold(stall=CHUNK + 2_000_000), await hold()
    fetch = await begin(fetcher, digest, [stalling.source, good.source])
    await stalling.stalled.wait()
    await store.retain(set())
    await stalling.server.stop(grace=0.1)
    assert (await fetch).read_bytes() == CONTENT


async def test_closing_the_fetcher_stops_its_downloads(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stalling = await hold(stall=1000)
    fetch = asyncio.create_task(fetcher.fetch(digest, [stalling.source]))
    await stalling.stalled.wait()
    await fetcher.close()
    with pytest.raises(TransferError, match="fetching has been stopped"):
        await fetch
    assert not any(store.noted(digest).read_bytes())
    assert str(stalling.server.port) not in caplog.text  # a source is not at fault for what was stopped here


async def test_reported_progress_grows_to_the_size_of_the_model(digest: str, hold: Hold, fetcher: Fetcher) -> None:
    seen: list[int] = []
    cutter, good = await hold(cut=5_000_000), await hold()
    await fetcher.fetch(digest, [cutter.source, good.source], seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == SIZE


async def test_a_download_that_fills_the_disk_is_an_error_and_frees_what_it_wrote(
    digest: str,
    hold: Hold,
    fetcher: Fetcher,
    store: TensorStore,
    tmp_path: Path,
    largest_file: Callable[[int], AbstractContextManager[None]],
) -> None:
    holder = await hold()
    with largest_file(CHUNK + 1000), pytest.raises(StoreError, match=rf"\.partial: the model needs {SIZE} bytes"):
        await fetcher.fetch(digest, [holder.source])
    assert list((tmp_path / "store").iterdir()) == []
    await fetcher.fetch(digest, [holder.source])  # with room again
    assert store.has(digest)
