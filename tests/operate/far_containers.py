"""The story by containers, with a network of its own for each host: `make e2e-operate`."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from operate.containers import containers, engines, prepare
from operate.story import tell
from support.checks import Check
from support.containers import Podman
from support.namespaces import Namespaces
from support.sns import Network
from support.tools import lacks, needs

pytestmark = [needs("etcd"), needs("netns"), needs("podman")]


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made before a test has networks of its own."""
    if reason := lacks("podman"):
        pytest.skip(reason)
    made = tmp_path_factory.mktemp("images") / "images.tar"
    prepare(made)
    return made


@pytest.fixture
def far_engines(far_net: Network, archive: Path) -> Iterator[Mapping[int, Podman]]:
    assert isinstance(far_net.hosts, Namespaces)
    with engines(far_net.hosts, archive) as made:
        yield made


def test_one_script_drives_a_whole_training_of_three_hosts_by_containers(
    far_net: Network, far_engines: Mapping[int, Podman], check: Check
) -> None:
    tell(far_net, containers(far_net, far_engines), check)
