"""A fetch that was interrupted goes on where it stopped, at the same source or at the next one."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from support.certs import make_workspace
from support.faulty_holder import CONTENT, SIZE, Hold, begin, fetching, rest_from
from support.ports import fixed_port
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import server_context
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher, TransferError
from swarmlearning.tensors.digest import CHUNK, ModelDigest

Identities = dict[str, Identity]

BEGUN = [rest_from(0)], [rest_from(CHUNK)]
"""What is requested after a source has stopped behind the first chunk: what it sent last may be lost on the way."""


@pytest.mark.parametrize("cut", [0, 5000, CHUNK, CHUNK + 3_000_001, SIZE - 1])
async def test_the_next_source_resumes_at_the_chunk_in_which_the_first_one_stopped(
    cut: int, digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    first, second = await hold(cut=cut), await hold()
    path = await fetcher.fetch(digest, [first.source, second.source])
    assert path.read_bytes() == CONTENT
    assert first.requests == ["/bundle"]
    assert second.requests == [rest_from(cut)]
    assert second.sent == SIZE - cut // CHUNK * CHUNK


@pytest.mark.parametrize("cut", [0, 5000, CHUNK + 3_000_001])
async def test_a_truncated_answer_is_an_error_and_the_next_fetch_resumes(
    cut: int, identities: Identities, digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore, tmp_path: Path
) -> None:
    holder = await hold(cut=cut)
    expected = rf"{holder.source[0]}:{holder.source[1]} closed the connection {SIZE - cut} bytes before the end"
    with pytest.raises(TransferError, match=expected):
        await fetcher.fetch(digest, [holder.source])
    assert not store.has(digest)
    good = await hold()
    restarted = TensorStore(tmp_path / "store")
    async with fetching(identities["SL-2"], restarted) as later:
        path = await later.fetch(digest, [good.source])
    assert path.read_bytes() == CONTENT
    assert good.requests == [rest_from(cut)]
    assert good.sent == SIZE - cut // CHUNK * CHUNK


async def test_the_bytes_of_a_server_that_stopped_are_kept_for_the_next_fetch(
    identities: Identities, digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    dying, good = await hold(stall=CHUNK + 100), await hold()
    server = Server(dying.app(), server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    fetch = await begin(fetcher, digest, [("127.0.0.1", server.port)])
    await dying.stalled.wait()
    await server.stop(grace=0.1)
    with pytest.raises(TransferError, match=rf"{server.port} (closed the connection|stopped) .*bytes before the end"):
        await fetch
    path = await fetcher.fetch(digest, [good.source])
    assert path.read_bytes() == CONTENT
    assert good.requests in BEGUN


async def test_a_fetch_goes_on_at_the_next_source_when_the_process_of_the_first_is_killed(
    digest: str, hold: Hold, store: TensorStore, tmp_path: Path
) -> None:
    identities = make_workspace(tmp_path / "cert", ["SL-1", "SL-2"])
    (tmp_path / "content").write_bytes(CONTENT)
    await TensorStore(tmp_path / "there").adopt(tmp_path / "content")
    options = [str(tmp_path / "cert"), "SL-1", "127.0.0.1", str(tmp_path / "there"), str(CHUNK + 100)]
    command = [sys.executable, "-m", "support.holder", *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    good = await hold(identity=identities["SL-1"])
    async with fetching(identities["SL-2"], store) as fetcher:
        fetch = await begin(fetcher, digest, [("127.0.0.1", port), good.source])
        assert await process.stdout.readline() == b"stalled\n"
        process.kill()
        assert (await fetch).read_bytes() == CONTENT
    await process.wait()
    assert good.requests in BEGUN


async def test_a_damaged_chunk_of_a_partial_file_is_fetched_again(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    cutter, good = await hold(cut=2 * CHUNK + 7), await hold()
    with pytest.raises(TransferError):
        await fetcher.fetch(digest, [cutter.source])
    with store.partial(digest).open("r+b") as file:
        file.seek(CHUNK + 9)
        file.write(b"damaged")
    with pytest.raises(TransferError):
        await fetcher.fetch(digest, [])
    path = await fetcher.fetch(digest, [good.source])
    assert path.read_bytes() == CONTENT
    assert good.requests == [f"bytes={CHUNK}-{SIZE - 1}"]


async def test_a_complete_partial_file_is_used_without_any_source(
    digest: str, fetcher: Fetcher, store: TensorStore
) -> None:
    chunks = tuple(blake3(CONTENT[at : at + CHUNK]).digest() for at in range(0, SIZE, CHUNK))
    info = ModelDigest(SIZE, chunks)
    file, _ = store.open_partial(info)
    with file:
        file.write(CONTENT)
    store.noted(info.root).write_bytes(b"\x01" * 3)
    path = await fetcher.fetch(digest, [("127.0.0.1", fixed_port())])
    assert path.read_bytes() == CONTENT


async def test_a_cancelled_fetch_stops_and_the_next_one_resumes(digest: str, hold: Hold, fetcher: Fetcher) -> None:
    stalling, good = await hold(stall=CHUNK + 2_000_000), await hold()
    fetch = await begin(fetcher, digest, [stalling.source])
    await stalling.stalled.wait()
    fetch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetch
    await stalling.left.wait()
    path = await fetcher.fetch(digest, [good.source])
    assert path.read_bytes() == CONTENT
    assert good.requests in BEGUN


async def test_chunks_that_are_here_under_the_name_of_a_recipe_are_not_fetched(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    recipe, good = "5" * 64, await hold()
    chunks = tuple(blake3(CONTENT[at : at + CHUNK]).digest() for at in range(0, SIZE, CHUNK))
    parts = store.parts(recipe, ModelDigest.unstated(ModelDigest(SIZE, chunks).layout))
    assert parts is not None
    with parts.used():
        parts.path.write_bytes(CONTENT[: 2 * CHUNK])
        parts.own(range(2))
    path = await fetcher.fetch(digest, [good.source], begun=recipe)
    assert path.read_bytes() == CONTENT
    assert good.requests == ["/chunks", rest_from(2 * CHUNK)]
    assert parts.has(range(2)), "others may read them"
