"""Who may read a node's metrics, and that nobody who asks for them holds the node up."""

import asyncio
import ssl
import threading
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from support.organisations import AUTHORITIES, three_organisations
from swarmlearning.identity.ca import KeyPair, issue
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.bodies import Revoke
from swarmlearning.ledger.contracts import network
from swarmlearning.node.credentials import is_issued_by
from swarmlearning.node.exposed import MetricsPlace
from swarmlearning.node.exposing import MOST_CONNECTIONS, Metrics, _plain
from swarmlearning.node.metrics import MOST_LABELLED, gauges
from swarmlearning.transport.parties import Credential


def credential(pair: KeyPair) -> Credential:
    certificate = pair.certificate
    return Credential(certificate.public_bytes(Encoding.DER), thumbprint(certificate), "")


def test_metrics_are_for_certificates_of_the_node_s_own_organisation_whatever_their_name() -> None:
    ledger = three_organisations()
    for name in ("prometheus", "SL-7", "UI-7"):
        made = credential(issue(AUTHORITIES["org-2"], name, [], [], 9))
        assert [is_issued_by(ledger.chain, made, f"org-{number}") for number in (1, 2, 3)] == [False, True, False]


def test_a_revoked_certificate_reads_nothing() -> None:
    ledger = three_organisations()
    node = network.node(ledger.chain.world, "sl-2")
    assert node is not None
    stored = network.certificate(ledger.chain.world, node.certificate)
    assert stored is not None
    shown = Credential(ssl.PEM_cert_to_DER_cert(stored.pem), stored.thumbprint, "")
    assert is_issued_by(ledger.chain, shown, "org-2")
    ledger.send("op-2", Revoke(stored.thumbprint), network.CONTRACT)
    assert not is_issued_by(ledger.chain, shown, "org-2")


@pytest.mark.parametrize(
    ("loopback", "host"),
    [
        *((True, host) for host in ("127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost")),
        *((False, host) for host in ("0.0.0.0", "::", "10.0.0.7", "node.example.org")),
    ],
)
def test_what_other_machines_can_reach_is_never_served_without_tls(loopback: bool, host: str) -> None:
    assert MetricsPlace(0, host).is_loopback is loopback


class Stuck(Collector):
    """A collector that goes on once it may."""

    def __init__(self, registry: CollectorRegistry, wait: Callable[[], object]) -> None:
        self._wait = wait
        registry.register(self)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        self._wait()
        return [gauges({"test": "A test."}, "test", ["site"], [((f"site-{number}",), 1) for number in range(100)])]


async def request(address: str, head: bytes) -> bytes:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)
    try:
        return await reader.read()
    except ConnectionError:  # cut off
        return b""
    finally:
        writer.close()


async def test_a_scrape_that_takes_long_leaves_the_event_loop_free_and_labels_are_bounded() -> None:
    registry, may_go = CollectorRegistry(), threading.Event()
    Stuck(registry, lambda: may_go.wait(60))
    async with _plain(MetricsPlace(0), Metrics(registry)) as address:
        scraping = asyncio.create_task(request(address, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"))
        answer = await request(address, b"GET /other HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 404")
        may_go.set()
        text = await scraping
    assert text.startswith(b"HTTP/1.1 200 OK\r\n")
    assert text.count(b"swarm_test{") == MOST_LABELLED


async def test_who_sends_a_long_head_is_cut_off_and_too_many_are_turned_away() -> None:
    async with _plain(MetricsPlace(0), Metrics(CollectorRegistry())) as address:
        assert await request(address, b"GET /metrics HTTP/1.1\r\nx: " + 70_000 * b"y") == b""
        host, _, port = address.rpartition(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(MOST_CONNECTIONS)]
        for _, writer in idle:
            writer.write(b"GET /met")
            await writer.drain()
        assert await request(address, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        for reader, writer in idle:
            writer.write(b"rics HTTP/1.1\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
            writer.close()
