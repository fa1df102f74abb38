"""Pairs as a resource manager gets them."""

import json

import pytest

from support.uids import uid
from swarmlearning.swop.composing import Contact, pair
from swarmlearning.swop.managing import Attempt, Limits, ManagerError
from swarmlearning.swop.profile import NodeDefinition, Profile
from swarmlearning.taskfiles.definition import RunSwarm

ATTEMPT = Attempt("runner", 3, 2, "task", "d" * 64)
RUN = RunSwarm("train.py", "python3", "/work", (("A", "task"), ("B", "task")))
LIMITS = Limits(seconds=60.0, cpus=2.0)


def test_what_comes_later_replaces() -> None:
    node = NodeDefinition(1, sl_environment={"Y": "node"}, user_environment={"B": "node", "C": "node"})
    profile = Profile("group", "runner", "PROCESS", "", (NodeDefinition(0), node), environment={"X": "all", "Y": "all"})
    made = pair(profile, Contact("10.0.0.1", "10.0.0.2", 30304), LIMITS, RUN, "image", ATTEMPT, 1, uid("sl"))
    assert made[:4] == (node, RUN, "image", uid("sl"))
    assert made.limits == LIMITS
    assert made.ml_environment == {"A": "task", "B": "node", "C": "node"}
    origin = json.loads(made.sl_environment["SL_ORIGIN"])
    assert origin == {"taskrunner": "runner", "digest": "d" * 64, "serial": 3, "attempt": 2}
    assert {**made.sl_environment, "SL_ORIGIN": ""} == {
        "X": "all",
        "Y": "node",
        "SN_NODE_IP": "10.0.0.2",
        "SN_API_SERVER_PORT": "30304",
        "SL_UID": uid("sl"),
        "SL_ORIGIN": "",
    }


def test_a_profiles_addresses_lead_others_to_the_sl() -> None:
    node = NodeDefinition(0, sl_host_ip="sl.example.org", sl_port=16000, sl_service="fs.example.org:443")
    profile = Profile("group", "runner", "PROCESS", "", (node,))
    contact = Contact("10.0.0.1", sn_api_service="api.example.org:443")
    variables = pair(profile, contact, LIMITS, RUN, "", ATTEMPT, 0, uid("sl")).sl_environment
    assert {name: variables[name] for name in variables if name not in ("SL_UID", "SL_ORIGIN")} == {
        "SN_API_SERVICE": "api.example.org:443",
        "THIS_NODE_IP": "sl.example.org",
        "SL_FS_PORT": "16000",
        "SL_FS_SERVICE": "fs.example.org:443",
    }


@pytest.mark.parametrize(
    ("named", "used", "host", "port", "service"),
    [
        (Contact("10.0.0.1", "10.0.0.2", 30304), "10.0.0.2:30304", "10.0.0.2", "30304", None),
        (Contact("10.0.0.1", "10.0.0.2", 30304), "[fd00::7]:31000", "fd00::7", "31000", None),
        (Contact("10.0.0.1", sn_api_service="sn.org:443"), "sn.org:443", None, None, "sn.org:443"),
        (Contact("10.0.0.1", sn_api_service="sn.org:443"), "10.0.0.3:30304", "10.0.0.3", "30304", None),
    ],
)
def test_an_sl_is_led_to_the_sn_that_answers(
    named: Contact, used: str, host: str | None, port: str | None, service: str | None
) -> None:
    profile = Profile("group", "runner", "PROCESS", "", (NodeDefinition(0),))
    variables = pair(profile, named.via(used), LIMITS, RUN, "", ATTEMPT, 0, uid("sl")).sl_environment
    names = ("SN_NODE_IP", "SN_API_SERVER_PORT", "SN_API_SERVICE")
    assert tuple(map(variables.get, names)) == (host, port, service)


@pytest.mark.parametrize(("relay", "expected"), [(True, "true"), (False, "false"), (None, None)])
def test_a_profile_says_whether_an_sl_uses_a_relay(relay: bool | None, expected: str | None) -> None:
    profile = Profile("group", "runner", "PROCESS", "", (NodeDefinition(0, sl_relay=relay),))
    made = pair(profile, Contact("10.0.0.1"), LIMITS, RUN, "", ATTEMPT, 0, uid("sl"))
    assert made.sl_environment.get("SL_RELAY") == expected


def test_a_node_that_is_no_longer_in_the_profile_is_the_sites_own_fault() -> None:
    profile = Profile("group", "runner", "PROCESS", "", (NodeDefinition(0),))
    with pytest.raises(ManagerError, match="no node of idx 1 any more") as refused:
        pair(profile, Contact("10.0.0.1"), LIMITS, RUN, "", ATTEMPT, 1, uid("sl"))
    assert refused.value.reason == "site"
