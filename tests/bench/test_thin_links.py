"""Links between hosts that are long, lossy, or cut."""

from collections.abc import Iterator

import pytest

from support.namespaces import Namespaces
from support.pings import PINGS, ping_seconds
from support.thinlinks import ThinLinks
from support.tools import needs

DELAY = 0.02


@pytest.fixture
def hosts() -> Iterator[Namespaces]:
    with Namespaces(2) as made:
        yield made


@needs("tun")
def test_packets_take_as_long_as_their_cables_and_none_passes_a_cut(hosts: Namespaces) -> None:
    assert ping_seconds(hosts, 1, 2) < 2 * DELAY
    links = ThinLinks(hosts)
    with links.longer([1], DELAY):
        assert ping_seconds(hosts, 1, 2) >= 2 * DELAY
        before = links.moved(1)
        ping_seconds(hosts, 2, 1)
        since = links.moved(1).sent - before.sent, links.moved(1).received - before.received
        assert min(since) >= (PINGS + 1) * 28  # of IP's and ICMP's headers
        links.cut(1)
        with pytest.raises(TimeoutError):
            ping_seconds(hosts, 1, 2, within=0.1)
        links.mend(1)
        assert ping_seconds(hosts, 1, 2) >= 2 * DELAY


@needs("tbf")
def test_a_link_loses_as_many_packets_as_it_is_told(hosts: Namespaces) -> None:
    links = ThinLinks(hosts)
    links.lose(2, 1.0)
    with pytest.raises(TimeoutError):
        ping_seconds(hosts, 1, 2, within=0.1)
