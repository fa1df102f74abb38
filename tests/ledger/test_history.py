"""The record of a chain's rounds, whatever else their blocks hold."""

from support.network import CONTRACT
from support.rounds import SITES, submit, three_sites
from swarmlearning.ledger.bodies import Contribution, Publish, Receipt, Reset
from swarmlearning.ledger.history import rounds, steps
from swarmlearning.views.report import Recorder


def test_a_round_is_known_although_its_contract_is_reset_in_the_same_block() -> None:
    """Whoever seals blocks can order so: no reader of the chain may fail over it."""
    ledger = three_sites()
    ledger.join("op", "SWCI")
    submit(ledger, *SITES)
    current = ledger.training.round
    assert current is not None
    given = sorted(current.submissions.values(), key=lambda entry: entry.uid)
    receipt = Receipt("mean", tuple(Contribution(one.uid, one.digest, one.weight, one.weight) for one in given), ())
    publish = ledger.write(current.leader, CONTRACT, Publish(0, current.term, "f" * 64, 1, receipt))
    ledger.commit(publish, ledger.write("op", CONTRACT, Reset(forced=True)))
    [record] = rounds(steps(ledger.blocks))
    assert (record.contract, record.run, record.number, record.result) == (CONTRACT, 1, 0, "f" * 64)
    assert record.contributed == tuple(SITES)
    recorder = Recorder()
    for step in steps(ledger.blocks):
        recorder.add(step)
    former = recorder.report(CONTRACT, 1)
    assert [(each.number, each.contributors) for each in former.rounds] == [(0, SITES)]
    assert recorder.growth.rounds == 1
