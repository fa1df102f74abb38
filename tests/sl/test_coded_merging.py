"""What an SL makes of coded changes that others give: merged as what they stand for, or left out by name."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from merge.model_files import save
from support.play import Play
from swarmlearning.choices import Transfer
from swarmlearning.ledger.bodies import Exclusion
from swarmlearning.ledger.contracts.training.slices import UNITS, Contributor, Recipe
from swarmlearning.ledger.contracts.training.state import Barred, Charter, Training
from swarmlearning.ledger.contracts.training.submissions import Submission
from swarmlearning.merge.encoding import encode_change
from swarmlearning.models.store import TensorStore
from swarmlearning.rounds.events import Event, Merge
from swarmlearning.rounds.slices import MergeSlice, SliceMerged, SliceUnmergeable
from swarmlearning.sl.codings import Codings
from swarmlearning.sl.links import Links
from swarmlearning.sl.merging import merge_round
from swarmlearning.sl.owncheck import OwnCheck, Verdict
from swarmlearning.sl.slices import SliceWork
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.tensors.digest import Layout, digest_laid_out
from swarmlearning.tensors.file import Array, read
from swarmlearning.tensors.structure import structure_digest

SHAPE = (300, 400)
"""480 KB: two chunks."""
TRANSFER: Transfer = "int8"


class Site:
    """A node that holds the round's base, and what others give."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = TensorStore(folder / "models")
        self.codings = Codings(self.store)
        self.dice = np.random.default_rng(1)

    async def begin(self) -> None:
        self.base = await self.model(self.dice.standard_normal(SHAPE))

    async def model(self, values: Array) -> str:
        path = save(self.folder / "made", {"w": values.astype(np.float32), "b": np.ones(3, np.float32)})
        return (await self.store.adopt(path, format=2)).root

    async def change(self, *, scale: int | None = None, base: str = "") -> str:
        """A change that some site gives; `scale`: the bits that its first block has instead; `base`: another model that
        it says it changes."""
        trained = await self.model(self.weights(self.base) + 0.1 * self.dice.standard_normal(SHAPE))
        coding = self.codings.of(TRANSFER, self.store.digest_info(self.base))
        assert coding is not None
        out = self.store.temporary()
        encode_change(coding, self.store.path(trained), self.store.path(self.base), out)
        if scale is not None:
            content, place = bytearray(out.read_bytes()), next(each.at for each in coding.pieces if each.is_coded)
            content[place : place + 2] = scale.to_bytes(2, "little")
            out.write_bytes(content)
        info = digest_laid_out(out, coding.layout(base or self.base))
        self.store.commit(out, info)
        return info.root

    def weights(self, digest: str) -> Array:
        return read(self.store.path(digest))["w"]

    async def merge_slice(self, *digests: str) -> Event:
        """The outcome of merging all of the round as one slice."""
        events = list[Event]()
        parts = tuple(Contributor(uid, digest, 1) for uid, digest in zip("abc", digests, strict=False))
        recipe = Recipe("n", "c", 1, 1, "mean", self.base, parts, transfer=TRANSFER)
        await self.work(events).merge(MergeSlice(recipe, 0, 0, UNITS, 10.0), ())
        (event,) = events
        return event

    def work(self, events: list[Event]) -> SliceWork:
        nobody: Any = None
        return SliceWork(
            self.store,
            nobody,
            events.append,
            lambda uids: {},
            lambda sources: Links(Stopwatch(), sources, print),
            lambda moved: None,
            lambda: 0,
            lambda: self.base,
        )

    def layout(self) -> Layout:
        """How changes of the base are cut."""
        coding = self.codings.of(TRANSFER, self.store.digest_info(self.base))
        assert coding is not None
        return coding.layout(self.base)

    async def merge_all(self, *digests: str, min_peers: int = 1) -> Any:
        """The outcome of merging the round as its leader."""
        submissions = tuple(
            Submission(uid, "trained", digest, 1, 1, 0) for uid, digest in zip("abc", digests, strict=False)
        )
        return await merge_round(
            Merge(1, 0, self.base, submissions, (), False), self.training(min_peers), self.store, lambda moved: None
        )

    async def own_verdict(self, given: str, trained: str = "") -> Verdict:
        """What the site that gave this finds itself, once the others have left it out."""
        state = self.training(2)
        assert state.round is not None
        barred = {"b": Barred(given, "malformed: why", ("a",))}
        state = msgspec.structs.replace(
            state, round=msgspec.structs.replace(state.round, base=self.base, barred=barred)
        )
        return await OwnCheck("b", self.store, self.codings, lambda: trained).verdict(state)

    def training(self, min_peers: int) -> Training:
        play = Play("a", "b", "c", charter=Charter("org-1", transfer=TRANSFER))
        assert play.state.terms is not None
        specs = [("w", "F32", SHAPE), ("b", "F32", (3,))]
        terms = msgspec.structs.replace(play.state.terms, min_peers=min_peers, structure=structure_digest(specs))
        return msgspec.structs.replace(play.state, terms=terms)


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    await made.begin()
    return made


async def test_a_slice_and_a_leader_merge_changes_to_the_same_model(site: Site) -> None:
    given = [await site.change(), await site.change(), site.base]
    merged = await site.merge_all(*given)
    assert isinstance(await site.merge_slice(*given), SliceMerged)
    assert {part.uid for part in merged.receipt.contributions} == {"a", "b", "c"}
    assert not merged.receipt.exclusions
    (parts,) = (path for path in (site.folder / "models").glob("*.partial"))
    assert parts.read_bytes() == site.store.path(merged.result).read_bytes()
    step = np.abs(site.weights(merged.result) - site.weights(site.base)).max()
    assert 0.05 < step < 0.5


@pytest.mark.parametrize(
    ("scale", "reason", "detail"),
    [
        (0xBF80, "malformed", "'w', block of values from 0: the scale is negative"),
        (0x0001, "malformed", "the scale is subnormal"),
        (0x7F80, "malformed", "the scale is no finite number"),
        (0x0000, "malformed", "the scale is 0, and codes under it are not"),
        (0x7FC0, "non-finite", "its values are not finite, or too large"),
        (0x7E96, "non-finite", "w"),  # 1e38: what it stands for overflows
    ],
)
async def test_a_change_that_is_not_coded_rightly_is_left_out_by_name(
    site: Site, scale: int, reason: str, detail: str
) -> None:
    given = [await site.change(), await site.change(scale=scale)]
    outcome = await site.merge_slice(*given)
    assert isinstance(outcome, SliceUnmergeable)
    (left_out,) = (await site.merge_all(*given)).receipt.exclusions
    for found in (outcome.exclusion, left_out):
        assert (found.uid, found.reason) == ("b", reason)
        assert detail in found.detail
    own = await site.own_verdict(given[1], site.base)
    assert (own.checked, own.coding) == ("change", reason == "malformed")
    assert detail in own.fault


async def test_how_large_a_change_is_is_not_known_before_a_model_of_the_training_is_here(site: Site) -> None:
    play = Play("a", "b", charter=Charter("org-1", transfer=TRANSFER))
    play.complete_round("a", "b")
    play.submit("a", "b")
    change = play.round.submissions["a"].digest
    work = site.work([])
    assert work.size_of(change, play.state, 7) == site.layout().size
    site.store.forget(site.base)
    assert work.size_of(change, play.state, 7) is None
    assert work.size_of(play.round.base, play.state, 7) == 7


async def test_a_whole_model_in_the_place_of_a_change_is_left_out_by_name(site: Site) -> None:
    text = "it is a whole model, which this training does not merge in this round"
    await assert_left_out(site, await site.model(np.ones(SHAPE)), text)


async def test_a_change_of_another_model_than_the_base_is_left_out_by_name(site: Site) -> None:
    other = await site.model(np.ones(SHAPE))
    for base in (other, "e" * 64):  # also one that nobody has
        text = f"it is a change of model {base[:16]}, and the base of this round is {site.base[:16]}"
        await assert_left_out(site, await site.change(base=base), text)


async def assert_left_out(site: Site, digest: str, detail: str) -> None:
    """Who gives this is left out, in slices and by one leader."""
    given = [await site.change(), digest]
    outcome = await site.merge_slice(*given)
    assert isinstance(outcome, SliceUnmergeable)
    (left_out,) = (await site.merge_all(*given)).receipt.exclusions
    assert outcome.exclusion == left_out == Exclusion("b", "structure", detail)
    assert await site.own_verdict(digest) == Verdict(detail, "change", coding=True)


async def test_a_site_finds_nothing_wrong_with_a_sound_change_and_says_what_it_could_check(site: Site) -> None:
    change, trained = await site.change(), await site.model(np.ones(SHAPE))
    assert await site.own_verdict(change, trained) == Verdict("", "change")
    assert await site.own_verdict(site.base, trained) == Verdict("", "values")
    assert await site.own_verdict("f" * 64, trained) == Verdict("", "values")
    assert await site.own_verdict("f" * 64) == Verdict()
    worse = await site.model(np.full(SHAPE, np.nan))
    assert await site.own_verdict(change, worse) == Verdict("tensor 'w' has NaN or infinity", "values")
    site.store.forget(site.base)
    assert await site.own_verdict(change, trained) == Verdict("", "values")


async def test_a_change_with_another_header_is_found_by_its_own_site_too(site: Site) -> None:
    change = await site.change()
    with site.store.path(change).open("r+b") as file:
        file.seek(9)
        file.write(b" ")
    text = "its header differs from that of the model that it changes"
    assert await site.own_verdict(change) == Verdict(text, "change", coding=True)


async def test_what_is_not_called_unusable_is_not_checked(site: Site) -> None:
    check = OwnCheck("b", site.store, site.codings, lambda: "")
    assert await check.verdict(site.training(2)) == Verdict()


async def test_a_scale_that_is_huge_says_no_more_than_a_model_could(site: Site) -> None:
    merged = await site.merge_all(await site.change(), await site.change(scale=0x7A00))
    assert not merged.receipt.exclusions
    assert np.abs(site.weights(merged.result)).max() > 1e30


async def test_buffers_are_not_coded_where_sites_agree_on_them(site: Site) -> None:
    reference = site.store.digest_info(site.base)
    coded = Codings(site.store).of("int8", reference)
    whole = Codings(site.store, lambda: frozenset({"w"})).of("int8", reference)
    assert coded is not None
    assert whole is not None
    assert (coded.coded_values, whole.coded_values) == (SHAPE[0] * SHAPE[1], 0)
    assert whole.size == site.store.digest_info(site.base).size
    assert Codings(site.store).of("float32", reference) is None
