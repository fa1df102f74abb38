"""Policies that are broken: each gets one message, and runs nothing."""

import pytest

from support.operate_data import raw
from swarmlearning.documents.faults import DocumentError
from swarmlearning.swop.policy import Policy
from swarmlearning.swop.policyfile import read_policy, usable_policy

GOOD = raw("policies/everything.yaml").decode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trust: -> thrust:", "1:1: thrust: unknown key; did you mean trust?"),
        (
            "- own -> - Own Hospital",
            "2:5: trust[0]: expected an organisation's short name, such as hospital-b, or own,",
        ),
        ("- own -> - [own]", "2:5: trust[0]: expected text, found a list"),
        ("organisation: university -> subject: university", "3:5: trust[1].organisation: the key is missing"),
        ("may: [make] -> may: [run]", "5:11: trust[1].may[0]: expected make or assign, found 'run'"),
        ("may: [make] -> may: []", "5:10: trust[1].may: expected a list of 1 to 2 items, found 0"),
        (
            '["CN=OPERATOR-1,O=University"] -> []',
            "4:15: trust[1].subjects: expected a list of 1 to 1000 items, found 0",
        ),
        (
            "[RUN_SWARM, -> [RUN_SWORM,",
            "6:9: types[0]: expected RUN_SWARM, MAKE_USER_CONTAINER, MAKE_SWARM_USER_CONTENT",
        ),
        ("[RUN_SWARM, MAKE_USER_CONTAINER] -> RUN_SWARM", "6:8: types: expected a list, found 'RUN_SWARM'"),
        (
            "mountRoots: [/srv/swarm, -> mountRoots: [srv,",
            "8:14: mountRoots[0]: expected an absolute path, found 'srv'",
        ),
        ("mountRoots: [/srv/swarm, -> mountRoots: [/,", "8:14: mountRoots[0]: the root folder cannot be used here"),
        ("[/srv/swarm, -> [/srv/../etc,", "8:14: mountRoots[0]: the path '/srv/../etc' contains '..'"),
        (
            "mountRoots: [/srv/swarm, -> mountRoots: [<CURRENT-PATH>,",
            "8:14: mountRoots[0]: the placeholder <CURRENT-PATH>",
        ),
        ("options: [gpus, -> options: [gpu,", "10:11: options[0]: expected gpus, device, ipc, shm-size, group-add,"),
        ("0002 -> 002", "12:8: deny[0]: expected a digest of 64 hexadecimal digits, found"),
        ("seconds: 7200 -> seconds: 0", "13:19: limits.seconds: expected a number from 1 to 31622400, found '0'"),
        ("cpus: 2.5 -> cpus: -1", "13:31: limits.cpus: expected a number from 0.01 to 4096, found '-1'"),
        ("memory: 16G -> memory: 0", "13:44: limits.memory: expected a size such as 512M or 16G, found '0'"),
        ("memory: 16G -> memory: much", "13:44: limits.memory: expected a size such as 512M or 16G, found 'much'"),
        ("processes: 500 -> processes: 1.5", "13:60: limits.processes: expected a whole number from 1 to 4194304"),
        ("SWOP: [own] -> SN: [own]", "14:13: shareLogs.SN: unknown key"),
        ("ML: [] -> ML: null", "14:53: shareLogs.ML: expected a list, found null"),
        ("demandUser: yes -> demandUser: 2", "15:13: demandUser: expected true or false, found '2'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change: str, message: str) -> None:
    old, new = change.split(" -> ")
    assert old in GOOD
    data = GOOD.replace(old, new, 1).encode()
    with pytest.raises(DocumentError) as caught:
        read_policy(data, "policy.yaml")
    assert str(caught.value).startswith(f"policy.yaml:{message}")
    assert usable_policy(data, "policy.yaml") == Policy(broken=str(caught.value))


@pytest.mark.parametrize("data", ["trust: [own]", "trust: null", "types: null", "{}"])
def test_what_a_policy_does_not_name_is_the_default(data: str) -> None:
    assert read_policy(data.encode(), "policy.yaml") == usable_policy(data.encode(), "policy.yaml") == Policy()


@pytest.mark.parametrize("data", [b"", b"\x00", b"x" * 10_000_000, b"trust:\n\t- own"])
def test_a_policy_that_is_no_document_runs_nothing(data: bytes) -> None:
    assert (usable_policy(data, "policy.yaml").broken or "").startswith("policy.yaml:")
