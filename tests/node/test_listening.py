"""Listening: a node listens on the address that it announces if the machine has it."""

import pytest

from swarmlearning.node.listening import listening_host

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
        (ELSEWHERE, "127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_node_listens_on_its_announced_address_where_the_machine_has_it_and_else_on_all(
    host: str, chosen: str, listens: str
) -> None:
    assert listening_host(host, chosen) == listens
