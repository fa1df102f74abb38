"""Notes for runs that have not begun: kept, put on the ledger once, and said by whom they are."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.ledgerui import LedgerUi, ledger_ui
from support.network import CONTRACT, Ledger, session
from swarmlearning.errors import UserError
from swarmlearning.ledger.bodies import Reset
from swarmlearning.ledger.contracts.experiments import annotations_of
from swarmlearning.node.clocks import clock_ms
from swarmlearning.ui.network.notes import LONGEST_MS, MOST, Note, Notes


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger()
    made.join("op-1", "SWCI")
    made.join("sl-1")
    return made


@pytest.fixture
async def ui(tmp_path: Path, ledger: Ledger) -> AsyncIterator[LedgerUi]:
    async with ledger_ui(tmp_path, ledger) as made:
        yield made


def note(run: int = 1, text: str = "first try", *, hidden: bool = False, made_ms: int | None = None) -> Note:
    return Note(CONTRACT, run, text, hidden, "ada", clock_ms() if made_ms is None else made_ms)


async def test_a_note_waits_for_its_run_and_is_then_on_the_ledger_once(ui: LedgerUi, ledger: Ledger) -> None:
    notes = Notes(ui.site.kept, ui.feed)
    await notes.add(note(text="replaced"))
    await notes.add(note(hidden=True))
    await notes.put()
    assert [each.text for each in await Notes(ui.site.kept, ui.feed).waiting()] == ["first try"]  # after a restart, too
    ledger.send("sl-1", session(1), CONTRACT)
    await notes.put()
    (found,) = annotations_of(ledger.chain.world, CONTRACT, 1)
    assert (found.text, found.hidden) == ("first try", True)
    assert await notes.waiting() == await Notes(ui.site.kept, ui.feed).waiting() == []
    assert set(ui.feed.persons) == {"ada"}


async def test_a_run_that_is_over_by_then_has_its_note_all_the_same(ui: LedgerUi, ledger: Ledger) -> None:
    notes = Notes(ui.site.kept, ui.feed)
    await notes.add(note())
    ledger.send("sl-1", session(1), CONTRACT)
    ledger.send("op-1", Reset(forced=True), CONTRACT)
    await notes.put()
    assert [each.text for each in annotations_of(ledger.chain.world, CONTRACT, 1)] == ["first try"]


async def test_what_the_ledger_refuses_now_is_kept(
    ui: LedgerUi, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes(ui.site.kept, ui.feed)
    await notes.add(note())
    ledger.send("sl-1", session(1), CONTRACT)

    async def refuse(work: object) -> None:
        raise UserError("no SN answers")

    with monkeypatch.context() as patched:
        patched.setattr(ui.feed, "use", refuse)
        await notes.put()
    assert len(await notes.waiting()) == 1
    await notes.put()
    assert await notes.waiting() == []


async def test_old_notes_are_forgotten_and_their_number_is_bounded(ui: LedgerUi) -> None:
    notes = Notes(ui.site.kept, ui.feed)
    await notes.add(note(made_ms=clock_ms() - LONGEST_MS - 1000))
    await notes.put()
    assert await notes.waiting() == []
    for run in range(1, MOST + 1):
        await notes.add(note(run))
    with pytest.raises(UserError, match="notes wait"):
        await notes.add(note(MOST + 1))
