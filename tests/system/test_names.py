"""The names under which real nodes appear to others."""

from support.processes import Processes
from support.swarm import Swarm


def test_a_node_that_is_given_no_name_is_called_by_its_certificate(swarm: Swarm, processes: Processes) -> None:
    swarm.start_sn()
    options = swarm.sl_options(2)
    del options["node-name"]
    assert processes.node("SL-2", "sl", options).ready
    assert {(node["type"], node["name"]) for node in swarm.status()["nodes"]} == {("SN", "SN-1"), ("SL", "SL-2")}
