"""Collects what is known of a training, and explains its rounds: the verified ledger, an SN's status, nodes' times."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.sealing import Wanted
from swarmlearning.operator.logs import LogsError, Reader, WithheldError
from swarmlearning.operator.session import Operator
from swarmlearning.views.evidence import Account, Beat, Evidence
from swarmlearning.views.explain import explain_closed, explain_now
from swarmlearning.views.explanation import Explanation
from swarmlearning.views.names import Names, displayed, fetch_addresses, node_names
from swarmlearning.views.proposals import proposals
from swarmlearning.views.render import participation_text, proposal_text, waiting_text, without_script
from swarmlearning.views.report import Recorder
from swarmlearning.views.times import Times
from swarmlearning.views.training import TrainingProgress, idle_sls, main_contract, participation, waiting_in

ANSWER_SECONDS: Final = 5.0
"""Nodes answer within a second; one that hangs is not waited for."""
MOST_AT_ONCE: Final = 8
"""Of one organisation to one SN; that carries 32, and others of it may read logs meanwhile."""


async def accounts_of(
    operator: Operator, uids: Collection[str], contract: str, number: int | None
) -> dict[str, Account]:
    """What these nodes state of a round, None: of the one in progress alone, each with the reason where it does not."""
    turns = asyncio.Semaphore(MOST_AT_ONCE)

    async def one(uid: str) -> Account:
        async with turns:
            return await _account(operator, uid, contract, number)

    return dict(zip(uids, await asyncio.gather(*map(one, uids)), strict=True))


async def _account(operator: Operator, uid: str, contract: str, number: int | None) -> Account:
    node = network.node(operator.chain.world, uid)
    if node is None or not node.alive:
        return Account(None, "its node is not there to ask", "start its SL, then ask again")
    wanted = Wanted("TIMES", contract=contract, round=number)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            piece = await Reader(operator, node).piece(wanted)
        return Account(msgspec.json.decode(piece.data, type=Times))
    except TimeoutError:
        why = f"its node has not answered within {ANSWER_SECONDS:.0f} s"
        return Account(
            None, why, "ask again in a moment; if it stays so, swarm doctor says whether that node is reached"
        )
    except WithheldError as error:  # it says itself who may read them
        return Account(None, str(error))
    except LogsError as error:
        return Account(
            None, str(error), "see that its SL runs and reaches the SNs (swarm doctor there), then ask again"
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Account(
            None, "its node answers with what cannot be understood", "it may be of a later release: upgrade here"
        )


def explain(
    recorder: Recorder,
    contract: str,
    number: int | None,
    accounts: Mapping[str, Account],
    status: Mapping[str, Any] | None = None,
    now_ms: int | None = None,
) -> Explanation:
    """Explains a round of the contract (empty: of that with the most rounds), or what it waits for now (None).

    `status`: an SN's answer. Raises `UserError` for a round that is not on the ledger.
    """
    chain = recorder.chain
    state = training_of(chain, contract)
    in_progress = state.round.number if state.round else None
    wanted = number if number is not None else in_progress
    key = (state.name, state.run, wanted if wanted is not None else -1)
    moments = recorder.timeline.rounds.get(key)
    evidence = Evidence(
        world=chain.world,
        state=state,
        moments=moments,
        now_ms=max(now_ms if now_ms is not None else clock_ms(), chain.time_ms),
        accounts=accounts,
        beats=_beats(status),
        majority=status["majority"] if status else None,
        alarms=_alarms(status),
        proposals=_proposals(chain, state.name),
        addresses=fetch_addresses(chain.world),
        waiting_text=_waiting_text(chain, state),
    )
    if number is None or number == in_progress:
        return explain_now(evidence)
    if moments is None or moments.closed_ms is None:
        raise UserError(_no_round(state, number))
    return explain_closed(evidence, number)


def training_of(chain: Chain, contract: str) -> Training:
    """The training contract of this name; by default that with the most rounds. Raises `UserError`."""
    name = contract or main_contract(chain.world)
    state = chain.world.get(f"training/{name}", Training)
    if state is None:
        which = f" of contract {displayed(name)}" if name else ""
        idle = without_script(idle_sls(chain.world), node_names(chain.world))
        raise UserError(
            f"the ledger has no training{which}: no site has opened a session; start SLs with their scripts{idle}"
        )
    return state


def _no_round(state: Training, number: int) -> str:
    latest = f"its rounds are 0 to {state.rounds - 1}" if state.rounds else "it has no closed round"
    return f"contract {displayed(state.name)} has no round {number} in run {state.run}: {latest}"


def _waiting_text(chain: Chain, state: Training) -> str:
    names: Names = node_names(chain.world)
    if state.over:
        return participation_text(participation(state), names)
    return waiting_text(waiting_in(chain.world, state), names, fetch_addresses(chain.world))


def _beats(status: Mapping[str, Any] | None) -> dict[str, Beat]:
    found: dict[str, Beat] = {}
    for node in status["nodes"] if status else ():
        training = msgspec.convert(node["training"], TrainingProgress) if node["training"] else None
        found[node["uid"]] = Beat(node["progress"], training)
    return found


def _alarms(status: Mapping[str, Any] | None) -> tuple[str, ...]:
    return tuple(displayed(text, 1000) for text in status["alarms"]) if status else ()


def _proposals(chain: Chain, contract: str) -> tuple[str, ...]:
    """Open proposals about this contract, or about who takes part in the network."""
    return tuple(
        proposal_text(each)
        for each in proposals(chain.world, chain.time_ms)
        if each.state == "open" and each.contract in (contract, network.CONTRACT)
    )


def unavailable(error: Unavailable | Refusal, address: str) -> str:
    """What it means for a training that an SN cannot be read."""
    return f"the ledger cannot be read: {error}. {without_sn(address)}"


def without_sn(address: str) -> str:
    """What to do where an SN does not answer."""
    return (
        f"Where {address} is the only SN, every round waits for it: start it again; else name another one with "
        "--sn-ip. swarm doctor, with the same options, says why it does not answer"
    )
