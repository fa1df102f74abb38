"""Tests on uvloop, and the identities of nodes; a store, holders of the model of `support.faulty_holder`, a fetcher."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from blake3 import blake3

from support.faulty_holder import CONTENT, SIZE, Hold, Holder, fetching
from support.uvloops import identities_of, pytest_asyncio_loop_factories, workspace
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import server_context
from swarmlearning.models import download
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher
from swarmlearning.tensors.digest import CHUNK, ModelDigest

__all__ = ["pytest_asyncio_loop_factories", "workspace"]

identities = identities_of("SL-1", "SL-2", "SL-3")


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is left alone however slow this machine is: where others are to help it, a test says so."""
    monkeypatch.setattr(download, "HELP_SECONDS", 600.0)


@pytest.fixture
async def hold(identities: dict[str, Identity], tmp_path: Path) -> AsyncIterator[Hold]:
    """Starts holders of the model: `await hold(cut=1000)`."""
    servers: list[Server] = []

    async def start(identity: Identity | None = None, content: bytes | None = CONTENT, **faults: object) -> Holder:
        store = TensorStore(tmp_path / f"holder-{len(servers)}")
        if content is not None:
            (tmp_path / "content").write_bytes(content)
            await store.adopt(tmp_path / "content")
        holder = Holder(store, **faults)  # type: ignore[arg-type]
        holder.server = Server(holder.app(), server_context(identity or identities["SL-1"]), "127.0.0.1", 0)
        await holder.server.start()
        servers.append(holder.server)
        return holder

    yield start
    for server in servers:
        await server.stop(grace=0.1)


@pytest.fixture
def store(tmp_path: Path) -> TensorStore:
    return TensorStore(tmp_path / "store")


@pytest.fixture
async def fetcher(identities: dict[str, Identity], store: TensorStore) -> AsyncIterator[Fetcher]:
    async with fetching(identities["SL-2"], store) as fetcher:
        yield fetcher


@pytest.fixture
def digest() -> str:
    """The digest of the model that holders hold."""
    chunks = tuple(blake3(CONTENT[at : at + CHUNK]).digest() for at in range(0, SIZE, CHUNK))
    return ModelDigest(SIZE, chunks).root
