"""The story with a network of its own for each host: `make e2e-operate`."""

from pathlib import Path

from operate.processes import processes
from operate.story import tell
from support.checks import Check
from support.sns import Network
from support.tools import needs

pytestmark = [needs("etcd"), needs("netns"), needs("views")]


def test_one_script_drives_a_whole_training_of_three_hosts_by_processes(
    far_net: Network, tmp_path: Path, check: Check
) -> None:
    tell(far_net, processes(tmp_path), check)
