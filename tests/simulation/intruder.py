"""A node of an adversarial organisation: it sends whatever its certificate allows, at any time; merges excepted.

It sees each block at once, which no honest node does. Its pace slows down, as quotas would make it.
"""

import random
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from simulation.ledger import BEAT_SECONDS, Author
from simulation.moves import LED, MOVE, REFUSED, Scene, session
from simulation.slicemoves import LED_IN_SLICES, slice_moves
from simulation.unsigned import papers
from simulation.violation import require
from swarmlearning.ledger.bodies import Body, Leave, Register
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection

if TYPE_CHECKING:
    from simulation.ledger import Sn
    from simulation.swarm import Swarm

MOVES_PER_SLOWDOWN = 50
"""After so many moves the pause between two of them is longer by the first one's length."""
ABSENCE_SECONDS = 6.0

Serves = Literal["models", "nothing", "drops"]
"""What others get who fetch from it: the models that it has made up; nothing; or so little that it never ends."""


class Intruder:
    """`pace`: mean seconds between two moves at first; `author`: what an SN that is registered already signs with."""

    def __init__(
        self,
        swarm: "Swarm",
        uid: str,
        paper: str,
        moves: Sequence[str],
        pace: float,
        serves: Serves,
        seed: int,
        author: Author | None = None,
    ) -> None:
        self.uid, self.serves = uid, serves
        self.models: set[str] = set()
        self._swarm, self._paper, self._moves, self._pace = swarm, paper, moves, pace
        self._dice = random.Random(f"intruder {uid} {seed}")
        self._author = author or Author(swarm.log, paper, uid, 0)
        self._made = 0.0
        self._absent_until = 0.0

    @property
    def kind(self) -> str:
        """Its role."""
        return self._paper.rpartition("-")[2]

    @property
    def organisation(self) -> str:
        return self._paper.rpartition("-")[0]

    def arrive(self) -> None:
        """Registers, mostly opens a session as an honest site would, and goes on with its moves."""
        if not self._author.incarnation:
            self._register()
        if self.kind == "SL":
            self._beat()
            if self._dice.random() < 0.8:
                self._after(0.5, lambda: self._send("opens session", *session(self._scene())))
        self._next()

    def _scene(self) -> Scene:
        return Scene(self._swarm, self.uid, self._author.incarnation, self.models, self._dice)

    def _after(self, seconds: float, thunk: "partial[None] | object") -> None:
        self._swarm.clock.after(seconds, thunk)  # type: ignore[arg-type]

    def _next(self) -> None:
        pause = self._pace * (1 + self._made / MOVES_PER_SLOWDOWN)
        self._after(self._dice.expovariate(1 / pause), self._move)

    def _move(self) -> None:
        """Makes one move, and the next one after a pause."""
        scene = self._scene()
        leads = scene.led() is not None and self._dice.random() < 0.5
        known = slice_moves(self._swarm)
        led = (*LED, *(move for move in LED_IN_SLICES if move in known))
        name = self._dice.choice(led if leads else self._moves)
        if name == "registers anew":
            self._register()
        elif name == "registers another's UID":
            self._register_as_another(name)
        elif name == "goes quiet":
            self._absent_until = self._swarm.clock.now + self._dice.uniform(0.0, ABSENCE_SECONDS)
            self._swarm.moves[name] += 1
        elif (found := {**MOVE, **known}[name](scene)) is not None:
            self._send(name, *found, author=self._author_of(name), chain=self._chain_of(name))
        else:
            self._made -= 0.9
        self._made += 1.0
        self._next()

    def _register(self) -> None:
        """Starts again as a new incarnation."""
        self._author = Author(self._swarm.log, self._paper, self.uid, self._author.incarnation + 1)
        name = self._dice.choice((self.uid, *self._swarm.sites))  # names are nobody's own
        self._send("registers anew", network.CONTRACT, self._registration(name))

    def _registration(self, name: str) -> Register:
        return Register(self.kind, name, papers().pems[self._paper], "0")  # type: ignore[arg-type]

    def _beat(self) -> None:
        if self._swarm.can_order() and self._swarm.clock.now >= self._absent_until:
            self._swarm.presence.renew(self.uid, self._author.incarnation)
        self._after(BEAT_SECONDS, self._beat)

    def _register_as_another(self, name: str) -> None:
        """Registers the UID of an honest site that is on the ledger, with its own certificate."""
        world = self._swarm.log.head.world
        if known := [node for uid in self._swarm.sites if (node := network.node(world, uid))]:
            victim = self._dice.choice(known)
            author = Author(self._swarm.log, self._paper, victim.uid, victim.incarnation + 1)
            self._send(name, network.CONTRACT, self._registration(victim.name), author)

    def _author_of(self, name: str) -> Author:
        """Returns who the next transaction is said to be of: mostly this node."""
        if name != "sends as another":
            return self._author
        uid = self._dice.choice(list(self._swarm.sites))
        node = network.node(self._swarm.log.head.world, uid)
        return Author(self._swarm.log, self._paper, uid, node.incarnation if node else 1, self._dice.randrange(2**20))

    def _chain_of(self, name: str) -> Chain:
        """Returns the chain that the next transaction follows: mostly the newest."""
        chains = self._swarm.log.chains
        return self._dice.choice(chains) if name == "sends what is old" else chains[-1]

    def _send(
        self, name: str, contract: str, body: Body, author: Author | None = None, chain: Chain | None = None
    ) -> None:
        """Sends it by way of any SN; sometimes twice."""
        swarm, dice = self._swarm, self._dice
        entry = (author or self._author).write(chain or swarm.log.head, contract, body)
        for _ in range(2 if dice.random() < 0.05 else 1):
            sn: Sn = dice.choice(swarm.sns)
            if sn.alive:
                sn.at(dice.expovariate(1 / 0.01), partial(sn.take, entry, partial(self._answered, name)))
        if isinstance(body, Leave) and author is self._author:
            self._after(dice.uniform(0.1, ABSENCE_SECONDS), self._register)

    def _answered(self, name: str, found: int | Rejection | None, judged_on: int) -> None:
        require(name not in REFUSED or not isinstance(found, int), f"the ledger accepts what {self.uid} {name}")
        outcome = " (refused)" if isinstance(found, Rejection) else ""
        self._swarm.moves[f"{name}{outcome}"] += 1
