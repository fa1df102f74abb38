"""SNs die at random while transactions flow: `python -m support.soak --seconds 120 --seed 7`.

Clients, each given another SN first, send as nodes do (`node/sender.py`): the same bytes again, to whichever SN takes
them. Meanwhile SNs are killed and started again, now and then all at once. In the end every acknowledged transaction
must be on the chain exactly once, at the height that was acknowledged, and all SNs must have the same chain.
"""

import argparse
import asyncio
import itertools
import logging
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from support.processes import Processes
from support.sns import Network
from support.uids import uid
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Announce, Register
from swarmlearning.ledger.contracts import network
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Author, Sender

RUNS = Path(__file__).parents[2] / "runs"
LANES = 2
"""Transactions that each client has under way at once."""
PACE_SECONDS = 0.05
"""The time that a lane rests between two: a network with some trainings, not a benchmark."""
REST_SECONDS = (0.2, 2.0)
"""Between two events, at least and at most."""
ALL_SHARE = 0.1
"""The share of kills that hit all SNs rather than one."""
LONG_GAP_SECONDS = 3.0
"""The shortest time without a commit that is reported when it ends."""
END_SECONDS = 60.0
"""Within which everything must be well after the last event."""


class Soak:
    """One soak of a network that stands. `acknowledged`: heights by sender and the address it announced."""

    def __init__(self, net: Network, seed: int) -> None:
        self.kills = 0
        self.acknowledged: dict[tuple[str, str], int] = {}
        self.longest_gap_s = 0.0
        self._net = net
        self._random = random.Random(seed)
        self._down: set[int] = set()
        self._ends = asyncio.Event()
        self._begin = self._last = monotonic()

    async def run(self, seconds: float) -> None:
        """Kills for so long, then lets all come back and all clients come to their end."""
        self._begin = self._last = monotonic()
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as tasks:
            for number in self._net.sns:
                tasks.create_task(self._client(number))
            while monotonic() < self._begin + seconds:
                await asyncio.sleep(self._random.uniform(*REST_SECONDS))
                await self._disturb()
            for number in sorted(self._down):
                await self._start(number)
            limit.reschedule(asyncio.get_running_loop().time() + END_SECONDS)
            self._ends.set()

    def check(self) -> None:
        """Every promise is kept. Raises `AssertionError`."""
        self._net.assert_one_chain(*self._net.sns)
        found = {}
        times = Counter[tuple[str, str]]()
        clients = {uid(f"client-{number}") for number in self._net.sns}
        for header, signed in self._net.transactions(1):
            content = signed.content
            if isinstance(content.body, Announce) and content.sender in clients:
                key = (content.sender, content.body.addresses["fs"])
                found[key] = header.height
                times[key] += 1
        assert [key for key, count in times.items() if count > 1] == []
        assert {key: found.get(key) for key in self.acknowledged} == self.acknowledged

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {len(self.acknowledged)} transactions acknowledged, longest time without one "
            f"{self.longest_gap_s:.1f} s, height {len(self._net.blocks(1)) - 1}"
        )

    # --- what happens to the SNs ------------------------------------------------------------------------------------

    async def _disturb(self) -> None:
        """Kills or starts one; never is more than a minority down, but for the times when all are killed."""
        most_down = (len(self._net.sns) - 1) // 2
        up = sorted(set(self._net.sns) - self._down)
        if self._random.random() < ALL_SHARE:
            for number in up:
                self._kill(number)
            for number in self._random.sample(sorted(self._down), len(self._down)):
                self._net.start(number)
            for number in sorted(self._down):
                await self._back(number)
        elif self._down and (len(self._down) == most_down or self._random.random() < 0.5):
            await self._start(self._random.choice(sorted(self._down)))
        else:
            self._kill(self._random.choice(up))

    def _kill(self, number: int) -> None:
        self._net.sns[number].kill()
        self._down.add(number)
        self.kills += 1
        self._note(f"SN-{number} killed")

    async def _start(self, number: int) -> None:
        self._net.start(number)
        await self._back(number)

    async def _back(self, number: int) -> None:
        """Until it votes again; where there is a spare it may be that."""
        spare = len(self._net.sns) % 2 == 0
        async with asyncio.timeout(END_SECONDS):
            await self._net.status_once(number, lambda status: spare or bool(status["votes"]))
        self._down.remove(number)
        self._note(f"SN-{number} is back")

    def _note(self, what: str) -> None:
        print(f"{monotonic() - self._begin:6.1f} s  {what}", flush=True)

    # --- the clients ------------------------------------------------------------------------------------------------

    async def _client(self, number: int) -> None:
        """Runs a node that sends without end, first to SN `number`."""
        identity = self._net.identities["SL-1"]
        others = [other for other in self._net.sns if other != number]
        addresses = [self._net.api(sn) for sn in (number, *others)]
        follower = Follower(addresses, client_context(identity), lambda network_id, name: None)
        sender = Sender(Author(identity.signer(), uid(f"client-{number}"), 1), follower, lambda text: None)
        try:
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(follower.run())
                await follower.reached(0)
                await sender.send(network.CONTRACT, Register("SL", "client", to_pem(identity.certificate), "0"))
                await self._talk(sender)
                following.cancel()
        finally:
            await follower.close()

    async def _talk(self, sender: Sender) -> None:
        numbers = itertools.count()
        async with asyncio.TaskGroup() as lanes:
            for _ in range(LANES):
                lanes.create_task(self._lane(sender, numbers))

    async def _lane(self, sender: Sender, numbers: Iterator[int]) -> None:
        while not self._ends.is_set():
            address = f"site-{next(numbers)}:1"
            height = await sender.send(network.CONTRACT, Announce({"fs": address}))
            self.acknowledged[sender.author.uid, address] = height
            gap, self._last = monotonic() - self._last, monotonic()
            self.longest_gap_s = max(self.longest_gap_s, gap)
            if gap > LONG_GAP_SECONDS:
                self._note(f"after {gap:.1f} s the first transaction")
            await asyncio.sleep(PACE_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--sns", type=int, choices=(3, 4, 5), default=4, help="with 4 one is a spare")
    options = parser.parse_args()
    logging.getLogger("swarm").setLevel(logging.ERROR)  # that clients move from SN to SN is what they are here for
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # not without ending what has been started
    RUNS.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-sns-", dir=RUNS))
    print(f"seed {options.seed}, {options.sns} SNs, {options.seconds:.0f} s, files in {folder} until all is well")
    with Processes(folder) as processes:
        net = Network(processes, folder)
        net.found(options.sns)
        soak = Soak(net, options.seed)
        asyncio.run(soak.run(options.seconds))
        soak.check()
        print(soak)
        net.kill_sns()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
