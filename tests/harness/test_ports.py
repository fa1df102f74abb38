"""Servers of tests that run at the same time never meet at one port."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.ports import BLOCKS, fixed_port

TESTS = Path(__file__).parents[1]
PRINT_PORTS = f"""
from support.ports import fixed_port
print(*[fixed_port() for _ in range({BLOCKS.step + 10})], flush=True)
input()  # holds its ports until all others have theirs
"""


def test_processes_that_run_at_the_same_time_never_get_the_same_port() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    command = [sys.executable, "-c", PRINT_PORTS]
    processes = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    lines = [process.stdout.readline() for process in processes if process.stdout]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda process: process.communicate("\n", timeout=60), processes))
    ports = [int(port) for line in lines for port in line.split()]
    assert len(ports) == len(set(ports)) == 3 * (BLOCKS.step + 10)


def test_a_port_at_which_another_program_listens_is_never_returned() -> None:
    port = fixed_port()
    nearby = range(port + 1, port - port % BLOCKS.step + BLOCKS.step)
    listening = []
    for other in nearby:
        server = socket.socket()
        server.bind(("127.0.0.1", other))
        listening.append(server)
    try:
        assert fixed_port() not in nearby
    finally:
        for server in listening:
            server.close()
