"""Nothing but `Rejection` leaves `apply`, for bodies of every kind, in worlds that random histories have led to."""

from functools import cache
from random import Random

import pytest

from support.anything import KINDS
from support.governed import SPARE
from support.histories import History
from support.network import CONTRACT, Ledger, organisation
from swarmlearning.identity.ca import KeyPair, create_authority
from swarmlearning.identity.certificates import to_pem
from swarmlearning.ledger.bodies import (
    AdmitOrganisation,
    AnnotateRun,
    Announce,
    AppendTaskBody,
    Assign,
    Body,
    Certify,
    CloseSession,
    CreateContract,
    CreateTask,
    CreateTaskrunner,
    FinalizeTask,
    Held,
    HideRun,
    Invite,
    Listen,
    Missing,
    OpenSession,
    Publish,
    Reassign,
    Register,
    Renew,
    ReportFault,
    ReportPeer,
    ReportPerformance,
    RequestCertificate,
    Reset,
    ResetTaskrunner,
    SetQuotas,
    Sliced,
    StateLink,
    Stop,
    Submit,
    TagRun,
    WithdrawInvitation,
)
from swarmlearning.ledger.chain import RULES_VERSION, Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.rules import RULES

STEPS = 300
SEEDS = (*range(6), 8, 14, 15)
"""Among them some in which each of `FREQUENT` has its occasion."""
FREQUENT: tuple[type[Body], ...] = (
    AnnotateRun,
    Announce,
    AppendTaskBody,
    Assign,
    Certify,
    CloseSession,
    CreateTask,
    CreateTaskrunner,
    FinalizeTask,
    HideRun,
    Invite,
    Listen,
    Missing,
    OpenSession,
    Publish,
    Register,
    Renew,
    ReportPeer,
    ReportPerformance,
    RequestCertificate,
    Reset,
    ResetTaskrunner,
    SetQuotas,
    Stop,
    Submit,
    TagRun,
    WithdrawInvitation,
)
IN_SLICES = (1, 4)
OF_SLICES: tuple[type[Body], ...] = (StateLink, Sliced, Held, ReportFault, Reassign)
ROLES = ("SN", "SL", "SWOP", "SWCI", "UI", "OBSERVER")


@cache
def authorities() -> tuple[KeyPair, ...]:
    return tuple(create_authority(f"CA-{number}", 3650) for number in range(1, 4))


def history(seed: int, version: int = RULES_VERSION, sizes: tuple[int, ...] = (), training: float = 0.6) -> History:
    """Three organisations with nodes of every role, an SN in quarantine, and a contract that names its members."""
    dice = Random(seed)
    first, second, third = authorities()
    ledger = Ledger(first, Chain(rulebook=RULES), rules=version, newest_rules=version)
    ledger.join("op", "SWCI")
    ledger.send("op", AdmitOrganisation(organisation("org-2", second)), network.CONTRACT)
    ledger.join("op-2", "SWCI", second)
    for operator in ("op", "op-2"):
        ledger.send(operator, AdmitOrganisation(organisation("org-3", third)), network.CONTRACT)
    for number, authority in enumerate(authorities(), 1):
        for place, role in enumerate(ROLES):
            ledger.join(f"{role.lower()}-{number}-{place}", role, authority)  # type: ignore[arg-type]
    ledger.void("sn-3-0")
    ledger.send("op", CreateContract(members=("org-1", "org-2")), "study")
    known = [actor.pem for actor in list(ledger.actors.values())[:3]]
    pems = [to_pem(each.certificate) for each in (SPARE, *authorities())] + known
    return History(
        ledger, dice, list(ledger.actors), authorities(), pems, (CONTRACT, "study", "new"), training, sizes=sizes
    )


@cache
def played_in_slices(seed: int) -> History:
    made = history(seed, max(RULES), sizes=(256 * 2**20,), training=0.95)
    for _ in range(STEPS):
        made.step()
    return made


@cache
def played(seed: int) -> History:
    made = history(seed)
    for _ in range(STEPS):
        made.step()
    return made


@pytest.mark.parametrize("seed", SEEDS)
def test_any_body_of_any_kind_is_accepted_or_refused_and_fails_in_no_other_way(seed: int) -> None:
    assert len(played(seed).accepted) > 20


def test_random_histories_send_every_kind_of_body_and_trainings_and_proposals_get_somewhere() -> None:
    """A kind of body whose values cannot be made up fails in `Anything`."""
    histories = [played(seed) for seed in SEEDS]
    assert {kind for each in histories for kind in each.sent} == set(KINDS)
    assert set(FREQUENT) <= {kind for each in histories for kind in each.accepted}


@pytest.mark.parametrize("seed", IN_SLICES)
def test_that_is_so_of_rounds_merged_in_slices_too(seed: int) -> None:
    assert len(played_in_slices(seed).accepted) > 20


def test_random_histories_under_the_next_rules_state_slices_of_all_kinds() -> None:
    histories = [played_in_slices(seed) for seed in IN_SLICES]
    assert {kind for each in histories for kind in each.sent} >= set(OF_SLICES)
    assert {kind for each in histories for kind in each.accepted} >= {StateLink, Sliced}
