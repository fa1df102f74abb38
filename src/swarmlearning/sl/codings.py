"""How the changes of this site's training are coded: what a coded file of a contribution has to look like here."""

from collections.abc import Callable
from pathlib import Path

from swarmlearning.choices import Transfer
from swarmlearning.ledger.contracts.training.slices import Recipe
from swarmlearning.merge.changes import Coding, coding_of
from swarmlearning.merge.merging import Source
from swarmlearning.models.store import TensorStore
from swarmlearning.rounds.exclusions import MISSHAPEN
from swarmlearning.tensors.digest import Layout, ModelDigest
from swarmlearning.tensors.file import read_header


class Codings:
    """Any thread may call. `buffers`: tensors that are not coded, which all sites of the training agree on."""

    def __init__(self, store: TensorStore, buffers: Callable[[], frozenset[str]] = frozenset) -> None:
        self._store = store
        self._buffers = buffers
        self._last: tuple[tuple[Transfer, bytes, frozenset[str]], Coding] | None = None

    def of(self, transfer: Transfer, reference: ModelDigest) -> Coding | None:
        """How changes of such a model are coded; None for whole models.

        `reference`: a held model of the training. Raises `NotHeldError` and `TensorFileError`.
        """
        if transfer == "float32":
            return None
        key = (transfer, reference.chunks[0], self._buffers())
        last = self._last
        if last is None or last[0] != key:
            last = self._last = key, coding_of(transfer, read_header(self._store.path(reference.root)), key[2])
        return last[1]

    def in_recipe(self, recipe: Recipe, reference: ModelDigest) -> Coding | None:
        """How the contributors' changes are coded in this recipe."""
        return self.of(recipe.transfer, reference)

    def sources(self, recipe: Recipe, reference: ModelDigest, path: Callable[[str], Path]) -> list[Source]:
        """What is merged: changes of the base, but where a site gives the base itself."""
        coding = self.in_recipe(recipe, reference)
        return [
            Source(one.uid, one.coefficient, path(one.digest), None if one.digest == recipe.base else coding)
            for one in recipe.contributors
        ]

    def layout(self, recipe: Recipe, reference: ModelDigest, digest: str) -> Layout:
        """How the file of this contributor's model or change has to be cut."""
        coding = self.in_recipe(recipe, reference)
        return reference.layout if coding is None or digest == recipe.base else coding.layout(recipe.base)

    def fault_of(self, recipe: Recipe, reference: ModelDigest, digest: str) -> str:
        """What is wrong with the file of this contributor, whose chunk list is here at least; empty where nothing is.

        A file that is here already is judged, too, or who has it would merge what all others leave out. Raises
        `StoreError`.
        """
        if digest == recipe.base:
            return ""
        known, layout = self._store.parts(digest), self.layout(recipe, reference, digest)
        found = known.info if known else self._store.digest_info(digest)
        if why := misfit(found.layout, layout):
            return why
        same = found.chunks[0] == reference.chunks[0]
        return "" if same else "its header differs from that of the other models"


def misfit(found: Layout, due: Layout | None) -> str:
    """What is wrong with a contributor's file that is cut in one way where another is `due` (None: as any whole model);
    empty where nothing is."""
    if found.is_coded != (due is not None and due.is_coded):
        what = "a coded change" if found.is_coded else "a whole model"
        return f"it is {what}, which this training does not merge in this round"
    if due is None or found == due:
        return ""
    if found.base != due.base:
        return f"it is a change of model {found.base[:16]}, and the base of this round is {due.base[:16]}"
    return MISSHAPEN
