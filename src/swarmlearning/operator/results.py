"""Results that an operator may read: fetched from the SLs that hold them, and checked against the ledger."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import NodeTls
from swarmlearning.ledger.access import registered_peer
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import OPERATORS
from swarmlearning.ledger.contracts.training.charter import may_read_result
from swarmlearning.ledger.contracts.training.state import Result, Training
from swarmlearning.ledger.fields import NodeType
from swarmlearning.ledger.world import World
from swarmlearning.models.destinations import refusal_beside
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher, Source, TransferError
from swarmlearning.node.sources import source_of
from swarmlearning.operator.acts import training
from swarmlearning.operator.session import Operator
from swarmlearning.views.names import displayed

READERS: Final[frozenset[NodeType]] = frozenset({*OPERATORS, "OBSERVER"})
"""The roles of people that may read results."""
ATTEMPTS: Final = 5
"""So often a result is fetched that another one replaces meanwhile: rounds may be short."""


class ResultError(UserError):
    """A result cannot be fetched; the message gives the reason and what to do."""


class Wanted(NamedTuple):
    """A result on the ledger, and the file servers of the nodes that hold it and run."""

    contract: str
    run: int
    round: int
    digest: str
    size: int
    sources: tuple[Source, ...]
    height: int


async def fetch_result(operator: Operator, identity: Identity, host: str, name: str, to: Path) -> Wanted:
    """Fetches the standing result of a contract into the file `to`; returns which one that is.

    The operator registers first, since SLs serve only those whose certificate is on the ledger. `host`: that of the SN
    in use. Raises `UserError`.
    """
    _standing(operator.chain.world, name)
    await operator.register()
    for left in reversed(range(ATTEMPTS)):
        found = wanted(operator.chain, name, thumbprint(identity.certificate))
        try:
            await _save(identity, host, operator.chain.world, found, to)
        except ResultError:
            if not left or _standing(operator.chain.world, name).digest == found.digest:
                raise
        else:
            return found
    raise AssertionError("unreachable")


def wanted(chain: Chain, name: str, reader: str) -> Wanted:
    """The standing result of a contract, for the holder of a registered certificate, by its thumbprint.

    Raises `UserError`.
    """
    state, result = training(chain.world, name), _standing(chain.world, name)
    _check_may_read(chain, state, reader)
    sources = tuple(_sources(chain.world, result.holders))
    if not sources:
        raise ResultError(
            f"none of the SLs that hold the result of contract {displayed(name)} runs; start one of them, or copy the "
            "final model at a site: swarm model get"
        )
    return Wanted(name, state.run, result.closed.number, result.digest, result.size, sources, chain.height)


def _standing(world: World, name: str) -> Result:
    state = training(world, name)
    if state.result is None:
        raise ResultError(f"contract {displayed(name)} has no result: no round of run {state.run} is complete")
    return state.result


async def _save(identity: Identity, host: str, world: World, found: Wanted, to: Path) -> None:
    """Fetches a result; the file appears whole and checked against its digest, or not at all.

    Addresses of kinds such as loopback are connected to only where the `host` of the SN has one of these.
    """
    tls = NodeTls(identity)
    tls.trust(authority.pem for authority in network.authorities(world))
    refuse = await asyncio.to_thread(refusal_beside, [host])
    with _folder_beside(to) as folder:
        fetcher = Fetcher(tls.client, TensorStore(Path(folder)), refuse=refuse)
        try:
            file = await fetcher.fetch(found.digest, found.sources, size=found.size, height=found.height)
            file.replace(to)
        except TransferError as error:
            raise ResultError(f"the result of contract {displayed(found.contract)} was not fetched: {error}") from error
        except OSError as error:
            raise ResultError(f"{to}: cannot be written: {error.strerror}") from error
        finally:
            await fetcher.close()


def _folder_beside(to: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder on the file system of `to`, which lasts as long as the fetch. Raises `ResultError`."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent)
    except OSError as error:
        raise ResultError(f"{to.parent}: cannot be written: {error.strerror}") from error


def _check_may_read(chain: Chain, state: Training, certificate: str) -> None:
    reader = registered_peer(chain.world, certificate, chain.time_ms)
    if reader is None or reader.role is None:
        raise ResultError("this certificate is not on the ledger; the SN has not registered it")
    if not may_read_result(chain.world, state, reader.organisation, reader.role, final=state.over):
        named = state.charter.members if state.charter else ()
        of = ", ".join(named) or "organisations whose sites take part"
        raise ResultError(
            f"the results of contract {displayed(state.name)} are for operators of {of}, not for a {reader.role} of "
            f"{reader.organisation}; see `swarm policy list` (read-results) and `swarm contract show`"
        )


def _sources(world: World, holders: tuple[str, ...]) -> Iterator[Source]:
    for uid in holders:
        known = network.node(world, uid)
        if known is None or known.left or not known.alive:
            continue
        if (source := source_of(world, uid)) is not None:
            yield source
