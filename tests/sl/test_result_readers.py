"""People who may fetch a result from an SL: by the contract and the network's policies, for their organisations."""

from dataclasses import replace
from functools import cache

import msgspec
import pytest

from support.network import Ledger, organisation
from support.play import Play, merged, model
from swarmlearning.identity.ca import create_authority
from swarmlearning.ledger.bodies import AdmitOrganisation
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.state import Policy
from swarmlearning.ledger.contracts.training.state import Charter
from swarmlearning.sl.readers import may_read

SITES = {"a": "org-1", "b": "org-2"}
ORGANISATIONS = (1, 2, 3, 4)
STUDY = Charter(owner="org-1", members=("org-1", "org-2"), observers=("org-3",))
OPEN = Charter(owner="org-4")


@cache
def ledger() -> Ledger:
    """Four organisations, each with an operator `op-N`, one who observes `see-N`, and an SL; a and b are such SLs."""
    authorities = {number: create_authority(f"CA-{number}", 3650) for number in ORGANISATIONS}
    made = Ledger(authorities[1])
    made.join("op-1", "SWCI")
    for number in ORGANISATIONS[1:]:
        body = AdmitOrganisation(organisation(f"org-{number}", authorities[number]))
        for signer in range(1, number):
            if network.organisation(made.chain.world, f"org-{number}") is None:
                made.send(f"op-{signer}", body, network.CONTRACT)
        made.join(f"op-{number}", "SWCI", authorities[number])
    for number in ORGANISATIONS:
        made.join(f"see-{number}", "OBSERVER", authorities[number])
        made.join({1: "a", 2: "b"}.get(number, f"sl-{number}"), "SL", authorities[number])
    made.join("sl-1", "SL", authorities[1])
    return made


def chain(play: Play, *opened: str) -> Chain:
    """The training on the ledger; the rights `opened` are those of every organisation."""
    entries = {f"policy/{act}": Policy(act, "one") for act in opened}
    known = ledger().chain
    return replace(known, world=known.world.with_entries({"training/contract": play.state, **entries}))


def readers(state: Chain, digest: str) -> list[str]:
    """Those who get this model from a."""
    thumbs = {uid: actor.signer.thumbprint for uid, actor in ledger().actors.items()}
    return [uid for uid in sorted(thumbs) if may_read(state, "a", thumbs[uid], digest)]


def trained(charter: Charter | None, *, over: bool = False) -> Play:
    """The result of round 0 stands, and a has submitted to round 1, which b leads; or training is over."""
    play = Play("a", "b", organisations=SITES, charter=charter)
    if over:
        for uid in "ab":
            play.close(uid)
        play.submit("a", "b", kind="snapshot")
        play.publish()
        return play
    play.complete_round("a", "b")
    play.submit("a")
    return play


@pytest.mark.parametrize("over", [False, True])
def test_sites_that_train_and_operators_of_members_read_results_during_a_run_and_after_it(over: bool) -> None:
    assert readers(chain(trained(STUDY, over=over)), merged(0)) == ["a", "b", "op-1", "op-2"]


@pytest.mark.parametrize("over", [False, True])
def test_observers_read_results_only_where_the_contract_states_it(over: bool) -> None:
    stated = msgspec.structs.replace(STUDY, observers_read_results=True)
    expected = ["a", "b", "op-1", "op-2", "op-3", "see-1", "see-2", "see-3"]
    assert readers(chain(trained(stated, over=over)), merged(0)) == expected


def test_nobody_but_the_leader_reads_what_one_site_has_contributed_whatever_contract_and_policies_allow() -> None:
    stated = msgspec.structs.replace(STUDY, observers_read_results=True)
    state = chain(trained(stated), "read-results", "read-final-results")
    assert readers(state, model("a", 1)) == ["b"]


def test_operators_of_the_sites_that_train_read_the_results_of_a_contract_without_members() -> None:
    assert readers(chain(trained(None)), merged(0)) == ["a", "b", "op-1", "op-2"]


def test_the_owner_of_a_contract_reads_its_results() -> None:
    assert readers(chain(trained(OPEN)), merged(0)) == ["a", "b", "op-1", "op-2", "op-4"]


@pytest.mark.parametrize(("act", "over"), [("read-results", False), ("read-final-results", True)])
def test_a_policy_opens_the_results_of_one_time_to_operators_of_every_organisation(act: str, over: bool) -> None:
    everybody = ["a", "b", "op-1", "op-2", "op-3", "op-4"]
    members = ["a", "b", "op-1", "op-2"]
    assert readers(chain(trained(STUDY, over=over), act), merged(0)) == everybody
    assert readers(chain(trained(STUDY, over=not over), act), merged(0)) == members


def test_what_a_site_contributes_to_one_training_is_no_result_of_another_that_names_it() -> None:
    play, digest = trained(STUDY), model("a", 1)
    other = Play("a", "b", organisations=SITES)
    other.complete_round("a", "b")
    other.state = msgspec.structs.replace(other.state, name="other")
    other.state = msgspec.structs.replace(other.state, result=msgspec.structs.replace(other.result, digest=digest))
    state = chain(play)
    assert readers(replace(state, world=state.world.with_entries({"training/other": other.state})), digest) == ["b"]


def test_what_another_site_contributes_under_the_digest_of_a_held_model_gives_nobody_that_model() -> None:
    play = trained(None)
    play.submit("b", digest="9" * 64)
    assert readers(chain(play), "9" * 64) == []
