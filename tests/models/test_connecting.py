"""Connecting to a host whose link is cut for a moment."""

import socket

import pytest

from swarmlearning.models import connections


@pytest.mark.parametrize("silent", [0, 1, 2])
def test_connecting_begins_again_while_a_host_does_not_answer(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP by itself tries ever less often."""
    now, tried = 100.0, list[float]()

    def connect(address: tuple[str, int], seconds: float) -> socket.socket:
        nonlocal now
        tried.append(seconds)
        if len(tried) <= silent:
            now += seconds
            raise TimeoutError
        return socket.socket()

    monkeypatch.setattr("swarmlearning.models.connections.socket.create_connection", connect)
    monkeypatch.setattr("swarmlearning.models.connections.time.monotonic", lambda: now)
    connections._connect_to("192.0.2.1", 1, 10.0).close()
    assert tried == [4.5, 4.5, 1.0][: silent + 1]


def test_a_host_that_never_answers_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    def connect(address: tuple[str, int], seconds: float) -> socket.socket:
        nonlocal now
        now += seconds
        raise TimeoutError

    monkeypatch.setattr("swarmlearning.models.connections.socket.create_connection", connect)
    monkeypatch.setattr("swarmlearning.models.connections.time.monotonic", lambda: now)
    with pytest.raises(TimeoutError):
        connections._connect_to("192.0.2.1", 1, 10.0)
    assert now == 110.0
