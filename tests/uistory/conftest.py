"""The hosts of the story, what the product is installed from there, and a browser of its own beside them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bundle
from support.browser import Chromium
from support.bundles import make_bundle, pip_wheel
from support.namespaces import Namespaces
from support.processes import Processes
from support.sns import Network
from swarmlearning import __version__
from uistory.stage import Place


@pytest.fixture
def near(tmp_path: Path, chromium: Chromium) -> Iterator[Place]:
    """All hosts are this one."""
    small = small_bundle(tmp_path)
    with Processes(tmp_path) as processes:
        net = Network(processes, tmp_path)
        yield Place(net, chromium, small, "from a stand-in for the bundle")
        net.kill_sns()


def small_bundle(folder: Path) -> Path:
    """One whose `swarm` is that of this tree."""
    return make_bundle(folder / "bundle", __version__, pip_wheel(folder), "real")


@pytest.fixture
def whole_bundle(tmp_path: Path) -> tuple[Path, str]:
    """The bundle that `make bundle` makes, for this Python, or the small one where there is no package index."""
    try:
        bundle.make(tmp_path / "bundle", [sys.version_info[:2]])
    except SystemExit as missing:
        return small_bundle(tmp_path), f"from a stand-in for the bundle ({missing})"
    return tmp_path / "bundle", "from the bundle of this tree, without Internet"


@pytest.fixture
def far(whole_bundle: tuple[Path, str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Three hosts, each with a network of its own that ends there; UI and browser are on the bridge between them."""
    with Namespaces(3) as hosts, Processes(tmp_path) as processes:
        browser = Chromium(request.config.getoption("--screenshots"))
        net = Network(processes, tmp_path, hosts)
        try:
            yield Place(net, browser, *whole_bundle)
        finally:
            browser.close()
            net.kill_sns()
