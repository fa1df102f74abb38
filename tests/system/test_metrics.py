"""A real Prometheus scrapes a live swarm, on loopback and over mutual TLS; strangers read nothing."""

import gzip
import json
import queue
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.certs import authority_in, stranger
from support.observed import documented
from support.ports import fixed_port
from support.processes import Processes
from support.swarm import SECONDS, Gate, Swarm, assert_complete
from support.tools import needs
from swarmlearning.identity.ca import issue
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.identity.workspace import Workspace

EVERYTHING = """
count(up == 1) == 3 and on () min(swarm_training_rounds) >= 2 and on () count(swarm_round_seconds_count >= 2) == 2
and on () sum(swarm_site_rounds_contributed{site="site-2"}) > 0 and on () max(swarm_ordering_majority) == 1
"""


@contextmanager
def collected() -> Iterator[tuple[str, "queue.Queue[tuple[str, str, bytes]]"]]:
    """An OpenTelemetry collector's address, and of each span it gets site, name and trace."""
    spans: queue.Queue[tuple[str, str, bytes]] = queue.Queue()

    def take(body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            site = next(each.value.string_value for each in resource.resource.attributes if each.key == "swarm.site")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    spans.put((site, span.name, span.trace_id))

    with receiving(take) as address:
        yield f"http://{address}", spans


@contextmanager
def notified() -> Iterator[tuple[str, "queue.Queue[str]"]]:
    """An Alertmanager's address, and the names of the alerts that Prometheus sends to it."""
    names: queue.Queue[str] = queue.Queue()

    def take(body: bytes) -> None:
        for alert in json.loads(body):
            names.put(alert["labels"]["alertname"])

    with receiving(take) as address:
        yield address, names


@contextmanager
def receiving(take: Callable[[bytes], None]) -> Iterator[str]:
    """The address of a server that takes the body of each POST."""

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def configuration(folder: Path, manager: str, plain: list[str], far: str, files: Workspace) -> Path:
    rules = [{"alert": "Everything", "expr": EVERYTHING}]
    (folder / "rules.yml").write_text(json.dumps({"groups": [{"name": "g", "rules": rules}]}))
    tls = {
        "ca_file": str(next(files.capath.glob("*.pem"))),
        "cert_file": str(files.certificate("prometheus")),
        "key_file": str(files.key("prometheus")),
    }
    written = folder / "prometheus.yml"
    content = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [manager]}]}]},
        "scrape_configs": [
            {"job_name": "swarm", "static_configs": [{"targets": plain}]},
            {"job_name": "far", "scheme": "https", "tls_config": tls, "static_configs": [{"targets": [far]}]},
        ],
    }
    written.write_text(json.dumps(content))  # JSON is YAML
    return written


def read(address: str, identity: Identity | None = None) -> str:
    tls: ssl.SSLContext | None = client_context(identity) if identity else None
    scheme = "https" if tls else "http"
    with urllib.request.urlopen(f"{scheme}://{address}/metrics", timeout=SECONDS, context=tls) as answer:
        text: str = answer.read().decode()
    return text


@needs("promtool")
def test_a_prometheus_scrapes_a_live_swarm(processes: Processes, tmp_path: Path, gate: Gate) -> None:
    swarm, files = Swarm(processes, tmp_path), Workspace(tmp_path / "cert")
    files.save_node("prometheus", issue(authority_in(tmp_path / "cert"), "prometheus", [], ["127.0.0.1"], 9))
    swarm.start_sn("--sentinel", "--metrics-port", "0")
    ml = ("--rounds", "3", "--min-peers", "2", "--hold-at", "2", "--gate", str(gate.path))
    near = swarm.start_sl(1, *ml, metrics_port="0")
    far = swarm.start_sl(2, *ml, metrics_port="0", metrics_ip="0.0.0.0")
    reached = f"127.0.0.1:{far.ready['metrics'].rpartition(':')[2]}"
    with notified() as (manager, names):
        plain = [swarm.sn.ready["metrics"], near.ready["metrics"]]
        config = configuration(tmp_path, manager, plain, reached, files)
        processes.start(
            "prometheus",
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{fixed_port()}",
        )
        assert names.get(timeout=SECONDS) == "Everything"

    for address in plain:
        assert set(re.findall(r"^# TYPE (\w+)", read(address), re.MULTILINE)) <= documented()
    assert "swarm_node_info{" in read(reached, swarm.identities["SL-1"])
    with pytest.raises((OSError, urllib.error.URLError)):
        read(reached, stranger(tmp_path, "SL-9"))
    with pytest.raises((OSError, urllib.error.URLError)):
        read(reached)


def test_the_parts_of_a_round_come_to_a_collector_as_one_trace(processes: Processes, tmp_path: Path) -> None:
    swarm = Swarm(processes, tmp_path)
    swarm.start_sn()
    with collected() as (address, spans):
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        ml = ("--rounds", "2", "--min-peers", "2")
        sites = [swarm.start_sl(index, *ml, environment=variables) for index in (1, 2)]
        assert_complete(sites)  # what was left has been sent before they end
        found = list(iter_queue(spans))
    traces = {trace for _, name, trace in found if name.startswith("round 1")}
    assert len(traces) == 1
    parts = {(site, name) for site, name, trace in found if trace in traces}
    assert {("site-1", "round 1 at site-1"), ("site-2", "round 1 at site-2")} <= parts
    assert [name for _, name in parts].count("round 1") == 1
    assert {"training: train", "hand-over: load", "ledger: submit", "merge: merge"} <= {name for _, name in parts}


def iter_queue(spans: "queue.Queue[tuple[str, str, bytes]]") -> Iterator[tuple[str, str, bytes]]:
    while not spans.empty():
        yield spans.get_nowait()
