"""SNs die at random while transactions flow, one of four a spare. `make soak-sns` is the long form."""

import os
import re
import sys

from support.processes import Processes
from support.tools import needs

pytestmark = needs("etcd")

SECONDS = 15
SEED = 3
LIMIT_SECONDS = 300.0


def test_every_acknowledged_transaction_is_on_the_chain_once_whichever_sn_dies_meanwhile(processes: Processes) -> None:
    command = (sys.executable, "-m", "support.soak", "--seconds", str(SECONDS), "--seed", str(SEED))
    soak = processes.start("soak", *command, environment={"PYTHONPATH": os.pathsep.join(sys.path)})
    assert soak.wait(LIMIT_SECONDS) == 0, soak.output
    assert re.search(r"[1-9]\d* kills, [1-9]\d* transactions acknowledged", soak.output), soak.output
