"""A real Prometheus scrapes a live swarm, on loopback and over mutual TLS; strangers read nothing."""

import json
import queue
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.certs import authority_in, stranger
from support.observed import documented
from support.ports import fixed_port
from support.processes import Processes
from support.swarm import SECONDS, Gate, Swarm
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
def notified() -> Iterator[tuple[str, "queue.Queue[str]"]]:
    """An Alertmanager's address, and the names of the alerts that Prometheus sends to it."""
    names: queue.Queue[str] = queue.Queue()

    class Manager(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            for alert in json.loads(self.rfile.read(int(self.headers["content-length"]))):
                names.put(alert["labels"]["alertname"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Manager)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", names
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
