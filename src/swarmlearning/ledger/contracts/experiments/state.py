"""The entries of experiments, and how they are looked up."""

from typing import Final

import msgspec

from swarmlearning.ledger.world import World

AREA: Final = "annotation"


class Annotation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an organisation has noted about a run, numbered from 1, of a contract. Its operator `by` (a UID) has changed
    it last, `on_behalf_of` a person where it has stated one."""

    contract: str
    run: int
    organisation: str
    by: str
    changed_ms: int
    text: str = ""
    tags: tuple[str, ...] = ()
    hidden: bool = False
    on_behalf_of: str = ""

    @property
    def key(self) -> str:
        """The name of its entry."""
        return f"{AREA}/{self.run}/{self.organisation}/{self.contract}"

    @property
    def size(self) -> int:
        """Bytes of what people have written."""
        return len(self.text.encode()) + sum(len(tag.encode()) for tag in self.tags)

    @property
    def empty(self) -> bool:
        """True if it says nothing, so that there is no need to keep it."""
        return not (self.text or self.tags or self.hidden)


def annotations(world: World) -> tuple[Annotation, ...]:
    """All that organisations have noted about runs."""
    return world.area(f"{AREA}/", Annotation)


def annotations_of(world: World, contract: str, run: int) -> tuple[Annotation, ...]:
    """What is noted about one run, by organisation."""
    return world.derived(f"{AREA}/", Annotation, _by_run).get((contract, run), ())


def _by_run(known: tuple[Annotation, ...]) -> dict[tuple[str, int], tuple[Annotation, ...]]:
    found: dict[tuple[str, int], list[Annotation]] = {}
    for each in known:
        found.setdefault((each.contract, each.run), []).append(each)
    return {key: tuple(sorted(parts, key=lambda each: each.organisation)) for key, parts in found.items()}
