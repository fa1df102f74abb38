"""What a node states at its start about trainings that every organisation may join."""

import msgspec
import pytest

from support.play import Play
from swarmlearning.choices import DEFAULT_CONTRACT
from swarmlearning.ledger.bodies import Quorum
from swarmlearning.ledger.contracts.network.state import Policy
from swarmlearning.ledger.contracts.training.state import Charter, Training, empty
from swarmlearning.ledger.world import World
from swarmlearning.views.contracts import open_text

MEMBERS = Charter(owner="one", members=("one",))


def world(*trainings: Training, **policies: Quorum) -> World:
    entries = {f"policy/{act.replace('_', '-')}": Policy(act, quorum) for act, quorum in policies.items()}
    return World().with_entries({f"training/{state.name}": state for state in trainings}).with_entries(entries)


@pytest.mark.parametrize(
    ("trainings", "names"),
    [
        ((), DEFAULT_CONTRACT),
        ((Play("a", "b").state,), f"{DEFAULT_CONTRACT}, contract"),
        ((empty("free", charter=Charter(owner="one")), empty("study", charter=MEMBERS)), f"{DEFAULT_CONTRACT}, free"),
        ((empty(DEFAULT_CONTRACT, charter=MEMBERS), empty("free")), "free"),
    ],
)
def test_the_open_contracts_are_named_with_the_commands_that_restrict_them(
    trainings: tuple[Training, ...], names: str
) -> None:
    text = open_text(world(*trainings))
    assert text.startswith(f"Open to every organisation of this network: {names}. For chosen ones: ")
    assert "swarm contract create NAME --member ORGANISATION" in text
    assert "swarm policy set take-part own" in text


def test_where_first_sessions_create_contracts_every_name_is_open() -> None:
    assert f"{DEFAULT_CONTRACT}, any name that nobody has created" in open_text(world(create_contract="none"))


def test_nothing_is_stated_where_only_named_members_take_part() -> None:
    assert open_text(world(Play("a").state, take_part="own")) == ""
    assert open_text(world(empty(DEFAULT_CONTRACT, charter=MEMBERS))) == ""


def test_a_contract_s_name_cannot_forge_lines() -> None:
    forged = msgspec.structs.replace(empty("free"), name="x\x1b[2J\nnetwork is safe")
    assert open_text(world(forged)).isprintable()
