"""A model that comes from several holders at once, where one alone would need long."""

import asyncio
from pathlib import Path

import pytest

from support.faulty_holder import CONTENT, SIZE, Hold, Holder, begin
from swarmlearning.models import claims, download
from swarmlearning.models.gathering import Gathering
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher, TransferError
from swarmlearning.tensors.digest import CHUNK


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others help after a moment, not after a second."""
    monkeypatch.setattr(download, "HELP_SECONDS", 0.01)
    monkeypatch.setattr(claims, "UNKNOWN_SECONDS", 0.1)


async def test_a_source_that_stalls_is_helped_before_it_is_given_up(digest: str, hold: Hold, fetcher: Fetcher) -> None:
    """The fetcher would wait ten minutes for it; the other joins once the first has sent something."""
    stalling, good = await hold(stall=1000), await hold()
    first = await begin(fetcher, digest, [stalling.source])
    path = await fetcher.fetch(digest, [good.source])
    assert path.read_bytes() == CONTENT
    assert await first == path
    await stalling.left.wait()  # it is not waited for any more
    assert stalling.requests == ["/bundle"]
    assert good.requests[0] == f"bytes={2 * CHUNK}-{SIZE - 1}"  # half of what the first has not begun


async def test_a_helper_that_sends_wrong_bytes_or_breaks_off_harms_nothing(
    digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    stalling = await hold(stall=1000)
    liar, cutter, good = await hold(flip=2 * CHUNK + 5), await hold(cut=2 * CHUNK + 7), await hold()
    path = await fetcher.fetch(digest, [each.source for each in (stalling, liar, cutter, good)])
    assert path.read_bytes() == CONTENT


async def test_when_as_many_sources_as_are_asked_at_once_stall_the_slowest_make_room(
    digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    stalling: list[Holder] = [await hold(stall=0) for _ in range(download.AT_ONCE)]
    good = await hold()
    first = asyncio.create_task(fetcher.fetch(digest, [each.source for each in stalling]))
    for each in stalling:
        await each.stalled.wait()
    path = await fetcher.fetch(digest, [good.source])
    assert path.read_bytes() == CONTENT
    assert await first == path


async def test_only_so_many_sources_are_asked_at_once(
    digest: str, hold: Hold, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gathering, "set_aside", lambda self: None)
    holders: list[Holder] = [await hold(stall=0) for _ in range(download.AT_ONCE + 1)]
    fetch = asyncio.create_task(fetcher.fetch(digest, [each.source for each in holders]))
    await holders[download.AT_ONCE - 1].stalled.wait()
    fetch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetch
    assert holders[-1].requests == []


async def test_nobody_waits_for_the_chunk_list_of_a_source_that_stalls(
    digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    stalling, good = await hold(stall=-50), await hold()
    path = await fetcher.fetch(digest, [stalling.source, good.source])
    assert path.read_bytes() == CONTENT
    await stalling.left.wait()
    assert good.requests == ["/bundle"]


async def test_when_every_source_fails_each_is_named(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore, tmp_path: Path
) -> None:
    cutters = [await hold(cut=1000) for _ in range(3)]
    with pytest.raises(TransferError) as failed:
        await fetcher.fetch(digest, [each.source for each in cutters])
    assert all(f":{each.source[1]} closed the connection" in str(failed.value) for each in cutters)
    assert not store.has(digest)
