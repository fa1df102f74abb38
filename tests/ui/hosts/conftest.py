"""Hosts with a real sshd, and a wheel of pip for small bundles."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.bundles import pip_wheel
from support.sshd import SshHost
from swarmlearning.ui.hosts.hostkeys import MemoryHostKeys
from swarmlearning.ui.hosts.ssh import SshMachine, connected, look


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a usual host: the scripts of a manager of Python versions would start slowly in place of Python."""
    own = str(Path(sys.base_prefix, "bin"))
    monkeypatch.setenv("PATH", os.pathsep.join((own, "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with SshHost(tmp_path_factory.mktemp("host") / "host") as started:
        yield started


@pytest.fixture
async def keys(host: SshHost) -> MemoryHostKeys:
    """The key of the host, confirmed."""
    known = MemoryHostKeys()
    await known.pin(host.address, await look(host.address))
    return known


@pytest.fixture
async def machine(host: SshHost, keys: MemoryHostKeys) -> AsyncIterator[SshMachine]:
    async with connected(host.address, host.login, keys) as one:
        yield one


@pytest.fixture(scope="session")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pip_wheel(tmp_path_factory.mktemp("pip"))
