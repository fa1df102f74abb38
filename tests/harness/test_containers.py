"""The engine that tests of containers use."""

import socket

from support.containers import BUSYBOX, podman
from support.tools import needs


@needs("podman")
def test_an_engine_of_its_own_runs_a_container_and_is_gone_afterwards() -> None:
    with podman() as engine:
        assert engine.run("run", "--rm", BUSYBOX, "sh", "-c", "echo hello") == "hello"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(engine.socket))
            client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            assert client.makefile("rb").readline().split()[1] == b"200"
    assert not engine.folder.exists()
