"""How a round's model is cut into slices: everybody is to be ready at the same time, nobody reads the same part of the
others' models in each round, and nobody merges all."""

from itertools import pairwise
from statistics import median_low

from simulation.violation import require
from swarmlearning.ledger.contracts.training.sizes import model_size
from swarmlearning.ledger.contracts.training.slices import LEAST_CHUNK, MOST_MERGERS, UNITS, Slicing, units_read
from swarmlearning.ledger.contracts.training.state import Training


class CutWitness:
    """Looks at the slices of each round as they are cut."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], tuple[frozenset[str], str]] = {}

    def cut(self, state: Training, slicing: Slicing) -> None:
        """The slices of a round that was cut with the newest block."""
        out = {each.uid for each in state.links if not each.merges}
        members = state.members.items()
        mergers = [uid for uid, each in members if each.present and not each.unreachable and uid not in out]
        units = {uid: units_read(slicing, uid) for uid in mergers}
        number = slicing.round
        others = {each.merger for each in slicing.slices}.difference(mergers)
        require(not others, f"{others} are to merge slices of round {number}, and cannot")
        require(max(units.values()) < UNITS, f"one is to merge all of round {number}: {units}")
        assert state.round is not None
        chunks = -(-model_size(state, state.round) // LEAST_CHUNK)
        most = 2 * UNITS / max(1, min(len(mergers), MOST_MERGERS, chunks)) + 2
        require(max(units.values()) <= most, f"one is to merge far more than others: {units}")
        if len(mergers) <= min(MOST_MERGERS, chunks):
            self._check_seconds(state, units, most)
            self._check_turn(state, slicing, units)

    def _check_seconds(self, state: Training, units: dict[str, int], most: float) -> None:
        """A faster link has no smaller share; where nobody has as much as one may have, all need as long as the others
        for what they fetch: their slices of the other models, and the rest of the result."""
        sites = sum(member.present for member in state.members.values())
        links = {each.uid: min(each.up, each.down) for each in state.links}
        known = [links[uid] for uid in units if links.get(uid)]
        typical = median_low(known) if known else 1
        speeds = {uid: typical if _is_like(links.get(uid, 0), typical) else links[uid] for uid in units}
        ordered = sorted(units, key=lambda uid: (speeds[uid], units[uid]))
        for slower, faster in pairwise(ordered):
            require(units[slower] <= units[faster] + 2, f"{slower} is slower than {faster}, and merges more: {units}")
        if max(units.values()) > most - 4:
            return
        seconds = {uid: (UNITS * (sites > 2) + own * max(1, sites - 2)) / speeds[uid] for uid, own in units.items()}
        rounding = 2 * max(1, sites - 2) / min(speeds.values())
        last = max((seconds[uid] for uid, own in units.items() if own), default=0.0)
        early = [uid for uid in units if units[uid] and seconds[uid] < last - rounding]
        require(not early, f"{early} are ready before others: they need {seconds} for {units}")

    def _check_turn(self, state: Training, slicing: Slicing, units: dict[str, int]) -> None:
        """With the same mergers another one has the first part than in the round before."""
        mergers, first = frozenset(units), slicing.slices[0].merger
        before = self._first.get((state.run, slicing.round - 1))
        again = before == (mergers, first) and len(mergers) > 1 and all(units.values())
        require(not again, f"{first} has the first part of round {slicing.round}, too")
        if all(units.values()):
            self._first[state.run, slicing.round] = mergers, first


def _is_like(speed: int, typical: int) -> bool:
    """Whether a link counts as the middle one: measurements of equal links differ by a fifth."""
    return not speed or (5 * speed <= 6 * typical and 5 * typical <= 6 * speed)
