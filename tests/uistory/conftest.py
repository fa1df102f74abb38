"""The hosts of the story, and a browser of its own beside them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.browser import Chromium
from support.namespaces import Namespaces
from support.processes import Processes
from support.sns import Network


@pytest.fixture
def near(tmp_path: Path, chromium: Chromium) -> Iterator[tuple[Network, Chromium]]:
    """All hosts are this one."""
    with Processes(tmp_path) as processes:
        net = Network(processes, tmp_path)
        yield net, chromium
        net.kill_sns()


@pytest.fixture
def far(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Network, Chromium]]:
    """Three hosts, each with a network of its own; UI and browser are on the bridge between them."""
    with Namespaces(3) as hosts, Processes(tmp_path) as processes:
        browser = Chromium(request.config.getoption("--screenshots"))
        net = Network(processes, tmp_path, hosts)
        try:
            yield net, browser
        finally:
            browser.close()
            net.kill_sns()
