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
    server, end = processes.start("web", sys.executable, "-c", WEB, str(port)), time.monotonic() + SECONDS
    while time.monotonic() < end:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return server
    raise AssertionError("no web server")
