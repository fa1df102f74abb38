"""On whose behalf operators act: stated and signed by their own node, and kept with what they have made."""

import msgspec
import pytest

from support.governed import newest, three
from support.network import CONTRACT, Ledger, parse
from swarmlearning.ledger.bodies import (
    AppendTaskBody,
    Assign,
    CreateContract,
    CreateTask,
    FinalizeTask,
    Leave,
    Listen,
    Reject,
    SetPolicy,
    Sign,
    Stop,
)
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.taskrunner import taskrunner
from swarmlearning.ledger.contracts.tasks import task
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ledger.transaction import MalformedError, sign

NETWORK = network.CONTRACT
RUNNER = "defaulttaskbb.taskdb.sml.hpe"


@pytest.fixture
def ledger() -> Ledger:
    """Three organisations, each with an operator."""
    return three()


def test_the_person_stands_in_the_signed_bytes_and_nobody_in_none(ledger: Ledger) -> None:
    named = ledger.write("op-1", CONTRACT, Stop(), "Dr. Ada Müller").content
    assert b'"on_behalf_of":"Dr. Ada M\xc3\xbcller"' in canonical(named)
    assert b"on_behalf_of" not in canonical(ledger.write("op-1", CONTRACT, Stop()).content)


@pytest.mark.parametrize("person", ["x" * 101, "two\nlines", "right\u202eleft", "\x00"])
def test_a_person_is_one_visible_line(ledger: Ledger, person: str) -> None:
    with pytest.raises(MalformedError, match="on_behalf_of"):
        parse(ledger.write("op-1", CONTRACT, Stop(), person).raw)


def test_an_empty_person_is_stated_by_leaving_it_out(ledger: Ledger) -> None:
    content = msgspec.to_builtins(ledger.write("op-1", CONTRACT, Stop()).content)
    raw = ledger.actors["op-1"].signer.sign(canonical({**content, "on_behalf_of": ""}))
    with pytest.raises(MalformedError, match="on_behalf_of"):
        parse(raw)


@pytest.mark.parametrize("uid", ["sn-1", "sl-1"])
def test_only_operators_act_for_a_person(ledger: Ledger, uid: str) -> None:
    content = msgspec.structs.replace(ledger.write(uid, NETWORK, Leave()).content, on_behalf_of="Ada")
    with pytest.raises(Rejection, match="not-allowed: only SWCI, UI, OPERATOR act on behalf of a person"):
        ledger.commit(sign(content, ledger.actors[uid].signer))


def test_a_task_its_assignment_and_a_contract_keep_for_whom_they_were_made(ledger: Ledger) -> None:
    ledger.join("swop-1", "SWOP")
    ledger.send("swop-1", Listen(1), RUNNER)
    ledger.send("op-1", CreateTask("RUN_SWARM", "x", "ROOTTASK", "y"), "train", on_behalf_of="Ada")
    ledger.send("op-1", AppendTaskBody(1, ("Command : x",)), "train")
    ledger.send("op-1", FinalizeTask(), "train")
    ledger.send("op-1", Assign("train", 1), RUNNER, on_behalf_of="Bob")
    ledger.send("op-1", CreateContract(), "study", on_behalf_of="Cleo")
    world = ledger.chain.world
    made, runner, charter = task(world, "train"), taskrunner(world, RUNNER), state_of(world, "study").charter
    assert made is not None
    assert made.on_behalf_of == "Ada"
    assert runner is not None
    assert runner.assignment is not None
    assert runner.assignment.on_behalf_of == "Bob"
    assert charter is not None
    assert charter.on_behalf_of == "Cleo"


def test_a_proposal_keeps_for_whom_each_organisation_has_answered_it_last(ledger: Ledger) -> None:
    ledger.send("op-1", SetPolicy("revoke", "all"), NETWORK, on_behalf_of="Ada")
    assert newest(ledger).persons == {"org-1": "Ada"}
    ledger.send("op-3", Reject(newest(ledger).number), NETWORK, on_behalf_of="Cleo")
    assert newest(ledger).persons == {"org-1": "Ada", "org-3": "Cleo"}
    ledger.send("op-3", Sign(newest(ledger).number), NETWORK)
    assert (newest(ledger).state, newest(ledger).persons) == ("done", {"org-1": "Ada"})


def test_what_a_proposal_makes_is_for_the_person_of_whoever_has_proposed_it(ledger: Ledger) -> None:
    for operator in ("op-1", "op-2"):
        ledger.send(operator, SetPolicy("create-contract", "majority"), NETWORK)
    ledger.send("op-1", CreateContract(), "study", on_behalf_of="Ada")
    ledger.send("op-2", Sign(newest(ledger).number), NETWORK, on_behalf_of="Bob")
    charter = state_of(ledger.chain.world, "study").charter
    assert charter is not None
    assert (charter.owner, charter.on_behalf_of) == ("org-1", "Ada")
