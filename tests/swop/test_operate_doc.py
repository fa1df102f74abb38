"""The examples of docs/operate.md are what is read, and mean what the page says."""

import re
from pathlib import Path
from textwrap import dedent

from swarmlearning.swop.managing import Limits
from swarmlearning.swop.policy import Trust
from swarmlearning.swop.policyfile import read_policy
from swarmlearning.taskfiles.taskfile import read_task_file

PAGE = (Path(__file__).parents[2] / "docs" / "operate.md").read_text()
DIGESTS = re.compile("<digest>")


def example(first_line: str) -> bytes:
    """The indented block of the page that begins with this line; digests are filled in."""
    block = PAGE[PAGE.index(f"\n    {first_line}") :].split("\n\n")[0]
    return DIGESTS.sub("'" + "0" * 64 + "'", dedent(block)).encode()


def test_its_task_file_is_read() -> None:
    assert read_task_file(example("Name: swarm_mnist_task"), "").type == "RUN_SWARM"


def test_its_one_line_admits_another_organisation() -> None:
    assert read_policy(example("trust: [own, hospital-b]"), "").trust == (Trust("own"), Trust("hospital-b"))


def test_its_policy_is_read() -> None:
    policy = read_policy(example("trust:     "), "")
    assert policy.trust[2] == Trust("university", ("CN=OPERATOR-1,O=University",), ("make",))
    assert policy.limits == Limits(7200, 4, 16 * 2**30, 500)
