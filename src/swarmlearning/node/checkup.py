"""What a node answers an operator who asks how it is: which announced addresses it reaches, and how its site is.

Anybody's operator may ask for the first, as far as it makes no scanner and no amplifier of a node: it tries addresses
that the ledger has of nodes that take part, so many at a time, a few times a minute whoever asks, and of each other
organisation so many different ones an hour. What comes of it is a code. How the site is (its script, its license, the
structure of its model) is for those who may read its logs.
"""

import asyncio
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from swarmlearning import __version__
from swarmlearning.address import AddressError, split
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.models.destinations import refusal_beside
from swarmlearning.models.links import PROBE
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.credentials import peer_of
from swarmlearning.node.outcomes import Outcome
from swarmlearning.node.probing import MOST_BYTES, Target, probe
from swarmlearning.node.sources import FILES, RELAY, source_of
from swarmlearning.transport.parties import Credential

MOST_TARGETS: Final = 128
"""Services that are tried for one answer."""
AT_ONCE: Final = 32
BYTES_AT_ALL: Final = 8 * 2**20
"""That all those tried for one answer may send, together."""
SECONDS: Final = 5.5
"""For all of them: what has not come to an end by then is not part of the answer."""
PER_MINUTE: Final = 6
"""Times that a node tries the others, whoever asks."""
FRESH_SECONDS: Final = 4.0
"""What was found so lately answers others who ask, too."""
MOST_ADDRESSES: Final = 64
"""Different addresses of one other organisation in an hour."""
HOUR: Final = 3600.0
LONGEST_STRUCTURE: Final = 48 * 1024

Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=500)]


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a site is, in its node's own words; empty where nothing is known.

    `contract`: of the session that its script has opened; `script`: the state of the script's process; `gpu`: whether
    the script uses one, `hidden`: the host has one that the script does not see, `missing`: it was told to use one and
    there is none; `structure`: the tensors of its model, as `tensors.structure.structure_text` lists them.
    """

    contract: Text = ""
    script: Literal["", "running", "stopped"] = ""
    gpu: Literal["", "used", "unused", "hidden", "missing"] = ""
    license: Text = ""
    structure: Annotated[str, msgspec.Meta(max_length=LONGEST_STRUCTURE)] = ""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node's answer. `time_ms`: its clock, Unix time; `site`: None for those who may not read its logs."""

    version: Annotated[str, msgspec.Meta(max_length=64)]
    time_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    outcomes: Annotated[list[Outcome], msgspec.Meta(max_length=MOST_TARGETS)]
    site: Site | None = None


def read_answer(data: bytes) -> Answer | None:
    """What another node has answered; None for what is no answer."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(data, type=Answer)
    return None


class Checkup:
    """Of the node `uid`, whose context as a client is `tls`; `own_hosts`: see `refusal_beside`."""

    def __init__(
        self,
        uid: str,
        tls: ssl.SSLContext,
        chain: Callable[[], Chain],
        own_hosts: Sequence[str],
        site: Callable[[], Site] = Site,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uid = uid
        self._tls = tls
        self._chain = chain
        self._own_hosts = own_hosts
        self._site = site
        self._now = now
        self._begun: list[float] = []
        self._tried: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._newest: tuple[float, list[Outcome]] | None = None
        self._turn = asyncio.Lock()

    async def answer(self, *, whole: bool) -> bytes:
        """The answer to one who asks; `whole`: who may read the logs of this site."""
        outcomes = await self._outcomes()
        site = await asyncio.to_thread(self._site) if whole else None
        return msgspec.json.encode(Answer(__version__, clock_ms(), outcomes, site))

    async def _outcomes(self) -> list[Outcome]:
        async with self._turn:
            now = self._now()
            if self._newest is not None and now - self._newest[0] < FRESH_SECONDS:
                return self._newest[1]
            self._begun = [begun for begun in self._begun if now - begun < 60.0]
            if len(self._begun) >= PER_MINUTE:
                return self._newest[1] if self._newest is not None else []
            self._begun.append(now)
            found = await self._try_all(now)
            self._newest = self._now(), found
            return found

    async def _try_all(self, now: float) -> list[Outcome]:
        chain = self._chain()
        own = network.node(chain.world, self._uid)
        targets = list(targets_of(chain, self._chain, self._uid, sn=own is not None and own.type == "SN"))
        permitted = [each for each in targets if self._may_try(chain, each, own, now)]
        untried = [Outcome(each.uid, each.service, "untried") for each in targets if each not in permitted]
        refuse = await asyncio.to_thread(refusal_beside, self._own_hosts)
        return [*await try_all(permitted, partial(probe, context=self._tls, refuse=refuse)), *untried]

    def _may_try(self, chain: Chain, target: Target, own: Node | None, now: float) -> bool:
        """False once so many addresses of another organisation were tried in this hour."""
        known = network.node(chain.world, target.uid)
        if known is None or (own is not None and known.organisation == own.organisation):
            return True
        while self._tried and next(iter(self._tried.values())) < now - HOUR:
            self._tried.popitem(last=False)
        key = known.organisation, f"{target.host}:{target.port}"
        if key in self._tried:
            return True
        if sum(organisation == key[0] for organisation, _ in self._tried) >= MOST_ADDRESSES:
            return False
        self._tried[key] = now
        return True


async def try_all(targets: Sequence[Target], attempt: Callable[[Target], Outcome]) -> list[Outcome]:
    """What comes of all of them within `SECONDS`, some at a time in threads; what takes longer does not answer."""
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(AT_ONCE, "checkup")
    try:
        tries = [loop.run_in_executor(threads, attempt, target) for target in targets]
        if tries:
            await asyncio.wait(tries, timeout=SECONDS)
        ended = [each.result() if each.done() else None for each in tries]
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
    late = (Outcome(each.uid, each.service, "stalled") for each in targets)
    return [found or outcome for found, outcome in zip(ended, late, strict=True)]


def targets_of(chain: Chain, now: Callable[[], Chain], own: str, *, sn: bool) -> Iterator[Target]:
    """The services of all nodes that take part but the one of the UID `own`, as far as they are tried at once.

    `now`: the ledger by which whoever answers is judged; `sn`: an SN tries also what SNs alone connect to.
    """
    found = [each for known in network.nodes(chain.world) for each in _services(chain, known) if known.uid != own]
    found = [each for each in found if sn or each[1] != "p2p"][:MOST_TARGETS]
    size = min(MOST_BYTES, max(64 * 1024, BYTES_AT_ALL // max(1, len(found))))
    paths = {FILES: f"{PROBE}{size}", "api": "/openapi.json"}
    for uid, service, host, port, behind in found:
        yield Target(uid, service, host, port, paths.get(service, ""), partial(_is_it, now, uid), behind)


def _services(chain: Chain, known: Node) -> Iterator[tuple[str, str, str, int, str]]:
    """UID, service, host, port, and for one behind a relay its UID."""
    if known.left:
        return
    with suppress(AddressError):
        if known.type == "SN":
            for service in ("api", "p2p", RELAY):
                if service in known.addresses:
                    yield known.uid, service, *split(known.addresses[service]), ""
        elif (source := source_of(chain.world, known.uid)) is not None:
            host, port, *behind = source
            yield known.uid, FILES, host, port, "".join(behind)


def _is_it(chain: Callable[[], Chain], uid: str, credential: Credential) -> bool:
    return peer_of(chain(), credential).node(uid) is not None
