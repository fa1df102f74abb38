"""Listening: a node listens on the address that it announces if the machine has it."""

import socket

import pytest

from swarmlearning.node.listening import host_towards, listening_host

ELSEWHERE = "192.0.2.1"
"""Reserved for documentation: no machine has it."""


@pytest.mark.parametrize(
    ("host", "chosen", "listens"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("localhost", "", "localhost"),
        ("0.0.0.0", "", "0.0.0.0"),
        (ELSEWHERE, "", "0.0.0.0"),
        ("2001:db8::1", "", "::"),
        ("only-others-know.invalid", "", "0.0.0.0"),
        ("no..name", "", "0.0.0.0"),
        (ELSEWHERE, "127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_node_listens_on_its_announced_address_where_the_machine_has_it_and_else_on_all(
    host: str, chosen: str, listens: str
) -> None:
    assert listening_host(host, chosen) == listens


def test_a_machine_s_address_is_that_from_which_it_reaches_another_one() -> None:
    assert host_towards("127.0.0.1:30304") == "127.0.0.1"


def test_where_no_name_is_resolved_it_is_that_of_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def resolve(name: str, *_: object, **__: object) -> list[object]:
        asked.append(name)
        if name == "sn.example":
            raise OSError("not now")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert host_towards("sn.example:30304") == "10.1.2.3"
    assert asked == ["sn.example", socket.gethostname()]
