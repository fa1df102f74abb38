"""The choice of voters: one pure decision at a time, from the members, the admitted SNs and those present.

Theory. A cluster of n voters survives the crash of (n - 1) // 2 of them, so an even number is worth no more than the
odd one below it, and a dead voter that stays in the list costs one survivable crash. Therefore:

- a newcomer enters as a learner, one at a time, and becomes a voter when it has caught up (etcd refuses before);
- a voter that is gone for long is replaced, not outnumbered: a spare enters as a learner; once it runs, the dead voter
  is removed and the spare promoted at once, because in between one failure less is survived. Without a spare the dead
  voter stays, since it may come back; when it does before it was removed, the spare remains a learner;
- voters are kept odd, up to seven: a fourth SN is a spare until there is a fifth. Two is the exception: the second
  voter brings a second copy of the order, though it survives no crash.
"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from swarmlearning.ordering.etcd.gateway import Member

MOST_VOTERS = 7


class Step(NamedTuple):
    """The next change, of the SN `uid`; `member` is its id in the cluster, 0 when it is none yet."""

    action: Literal["add", "promote", "remove"]
    uid: str
    member: int


def next_step(
    members: Sequence[Member], urls: dict[str, str], present: Collection[str], gone: Collection[str]
) -> Step | None:
    """The next step, None when all is as it should be.

    `urls`: peer URL of each admitted SN by UID. `present`: UIDs whose lease stands. `gone`: UIDs without a lease for
    so long that they are not waited for any more.
    """
    owners = {url: uid for uid, url in urls.items()}
    known = [(owners.get(member.peer_url, ""), member) for member in members]
    voters = [(uid, member) for uid, member in known if not member.learner]
    for uid, member in known:
        if not uid and (member.learner or len(voters) > 1):
            return Step("remove", "", member.id)  # no longer admitted by the ledger
    spares = sorted(uid for uid in urls if uid in present and uid not in {uid for uid, _ in known})
    dead = sorted((uid, member.id) for uid, member in voters if uid in gone)
    for uid, member in known:
        if not member.learner:
            continue
        if uid not in present:
            return Step("remove", uid, member.id) if uid in gone else None
        if dead and len(voters) > 2:
            return Step("remove", *dead[0]) if member.name else None  # a member has its name once it runs
        return Step("promote", uid, member.id) if _one_more_is_worth_it(len(voters), len(spares) + 1) else None
    replace = bool(dead) and len(voters) > 2
    grow = not dead and _one_more_is_worth_it(len(voters), len(spares))
    return Step("add", spares[0], 0) if spares and (replace or grow) else None


def survives(voters: int, live: int) -> int:
    """The number of crashes that a cluster with so many voters present survives; negative: it has no majority."""
    return live - (voters // 2 + 1)


def describe(voters: int, live: int) -> str:
    """The fault tolerance as one plain line for an operator."""
    names = f"{voters} voter{'' if voters == 1 else 's'}"
    if live < voters:
        count = max(0, survives(voters, live))
        text = f"{names}, {live} of them running: survives {count or 'none'}"
        return f"{text} more" if count else f"{text} until the missing {_are(voters - live)} back or replaced"
    if voters == 1:
        return f"{names}: survives none; add two more SNs"
    if voters == 2:
        return f"{names}: survives none; add a third SN, or only its vote (swarm sn --witness)"
    count = survives(voters, live)
    text = f"{names}: survives {count} failure{'' if count == 1 else 's'}"
    return text if voters % 2 else f"{text}, no more than {voters - 1} would"


class TwoVoters:
    """Notices once, each time, that there have been two voters for so many seconds: neither of them can be lost."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None
        self._noticed = False

    def noticed(self, voters: int, now: float) -> bool:
        """Takes the present number of voters; True once."""
        if voters != 2:
            self._since, self._noticed = None, False
            return False
        self._since = now if self._since is None else self._since
        if self._noticed or now - self._since < self._seconds:
            return False
        self._noticed = True
        return True


def _are(number: int) -> str:
    return "one is" if number == 1 else f"{number} are"


def _one_more_is_worth_it(voters: int, spares: int) -> bool:
    if voters >= MOST_VOTERS:
        return False
    return voters < 3 or voters % 2 == 0 or spares >= 2
