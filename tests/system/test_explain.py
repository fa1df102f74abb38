"""An operator asks why a training is not further, while real processes train, hang and are killed."""

import json
import re
from pathlib import Path
from typing import Any

from support.certs import make_workspace
from support.operating import Operator
from support.processes import Processes
from support.swarm import Gate, Swarm, has_models

SITES = ["SL-1", "SL-2", "SL-3"]


def explained(operator: Operator, *words: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(operator.does("explain", *words, "--json"))
    return answer


def test_a_round_is_explained_while_it_waits_once_it_is_closed_and_when_a_site_is_lost(
    processes: Processes, tmp_path: Path, gate: Gate
) -> None:
    swarm = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", ["SN-1", *SITES, "SWCI-1"]))
    swarm.start_sn()
    operator = Operator(swarm)
    assert "no site has opened a session" in operator.fails("explain")
    paced = ("--rounds", "3", "--size", "200000", "--gate", str(gate.path))
    for index in (1, 2):
        swarm.start_sl(index, *paced, "--hold-at", "2")
    slow = swarm.start_sl(3)
    swarm.train(3, slow, *paced, "--hold-at", "1", "--hold-at", "2", "--batches", "40", "--batch-seconds", "0.03")
    swarm.until(has_models(2, 1))

    waiting = explained(operator)
    assert re.match(r"Round 1 has waited [0-9.]+ s for site-3: its ML process trains at ", waiting["text"])
    assert waiting["facts"]["cause"] == "training"

    gate.let()
    swarm.until(lambda state: state.rounds == 2)
    text = operator.does("explain", "1")
    assert re.match(r"Round 1 took .* s: .* of them training at site-3.*\n\nshare +time +what", text)
    assert "loading and evaluating the merged model at site-3" in text
    assert "From the ledger alone" not in text

    slow.kill()
    uid = slow.ready["uid"]
    swarm.until(lambda state: uid in state.members and state.members[uid].attendance == "lost")
    gate.let(3)  # the script of the lost SL, too
    swarm.until(has_models(2, 2))
    lost = explained(operator)
    assert re.match(
        r"Round 2 has waited [0-9.]+ s for site-3, which has been lost since .*; 2 models are in, ", lost["text"]
    )
    assert "start it again" in lost["remedy"]
    (missing,) = lost["facts"]["missing"]
    assert (missing["site"], missing["why"]) == ("site-3", "its node is not there to ask")

    swarm.sn.kill()
    assert "is the only SN, every round waits for it: start it again" in operator.fails("explain")
