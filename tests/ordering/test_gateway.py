"""Requests to an etcd member that is not there."""

from pathlib import Path

import pytest

from swarmlearning.ordering.etcd.gateway import EtcdUnavailableError, Gateway


@pytest.mark.parametrize("closed", [False, True], ids=["not yet there", "no longer used"])
async def test_who_asks_is_told_that_it_is_unavailable(tmp_path: Path, closed: bool) -> None:
    """Also where the engine was changed under those who use it: each of them bears an etcd that has ended."""
    gateway = Gateway(tmp_path / "none.sock")
    if closed:
        await gateway.close()
    with pytest.raises(EtcdUnavailableError):
        await gateway.range(b"/", None, 1)
    with pytest.raises(EtcdUnavailableError):
        await anext(gateway.watch(b"/", None))
    await gateway.close()
