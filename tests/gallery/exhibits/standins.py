"""Programs of set-ups that are no nodes."""

import socket
import sys
import time

from support.processes import Process, Processes

WEB = """
import sys
from http.server import HTTPServer, SimpleHTTPRequestHandler

HTTPServer(("127.0.0.1", int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()
"""
SECONDS = 60.0


def web_server(processes: Processes, port: int) -> Process:
    """An HTTP server without TLS on a port of the loopback address; returns once it listens."""
    return server(processes, "web", WEB, port)


def server(processes: Processes, name: str, code: str, port: int, *words: str) -> Process:
    """A program that listens on a port of the loopback address, its first argument; returns once it does."""
    started = processes.start(name, sys.executable, "-c", code, str(port), *words)
    await_port(port)
    return started


def await_port(port: int, host: str = "127.0.0.1") -> None:
    """Returns once something listens there."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with socket.socket() as tried:
            if tried.connect_ex((host, port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens at {host}:{port}")
