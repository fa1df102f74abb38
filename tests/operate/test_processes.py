"""The short form of the story: all hosts are this one."""

from pathlib import Path

from operate.processes import processes
from operate.story import tell
from support.checks import Check
from support.sns import Network
from support.tools import needs

pytestmark = [needs("etcd"), needs("views")]


def test_one_script_drives_a_whole_training_by_processes(net: Network, tmp_path: Path, check: Check) -> None:
    tell(net, processes(tmp_path), check)
