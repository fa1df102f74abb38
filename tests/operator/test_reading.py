"""A command that reads the ledger over the network verifies the whole chain once, and from then on what is new."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.certs import authority_in, make_workspace
from support.network import Ledger, session
from support.rounds import finish, publish, report_all, submit, three_sites
from support.scripted_sn import STATUS, ScriptedSn, scripted_sn
from swarmlearning.api.client import Unavailable
from swarmlearning.cli.report import recorded
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.bodies import Reset
from swarmlearning.operator.reading import read_remote
from swarmlearning.views.report import TrainingReport


@pytest.fixture
def ledger() -> Ledger:
    """A ledger with one round."""
    made = three_sites()
    submit(made, "site-1", "site-2", "site-3")
    publish(made, "1" * 64)
    report_all(made, "site-1", "site-3")
    return made


@pytest.fixture
def identities(ledger: Ledger, tmp_path: Path) -> dict[str, Identity]:
    return make_workspace(tmp_path / "cert", ["SN-1", "UI-1"], ledger.authority)


@pytest.fixture
async def sn(identities: dict[str, Identity]) -> AsyncIterator[ScriptedSn]:
    async with scripted_sn(identities["SN-1"], []) as serving:
        yield serving


async def reported(
    sn: ScriptedSn,
    ledger: Ledger,
    identity: Identity,
    kept: Path | None,
    run: int | None = None,
    height: int | None = None,
) -> TrainingReport:
    """The report of a reading; the SN has the ledger's blocks, and states this height or that of the last of them."""
    sn.blocks = list(ledger.blocks)
    last = len(ledger.blocks) - 1 if height is None else height
    sn.answers = [lambda _: (200, {**STATUS, "height": last})]
    recorder, problem = await read_remote(sn.address, identity, kept)
    return recorder.report(run=run, problem=problem)


async def test_a_second_report_verifies_only_what_is_new_and_has_the_same_content(
    sn: ScriptedSn, ledger: Ledger, identities: dict[str, Identity], tmp_path: Path
) -> None:
    assert await reported(sn, ledger, identities["UI-1"], tmp_path / "kept") == recorded(ledger.blocks, "")
    known = len(ledger.blocks)
    finish(ledger)
    for _ in range(2):
        assert await reported(sn, ledger, identities["UI-1"], tmp_path / "kept") == recorded(ledger.blocks, "")
    assert sn.asked_from == [0, known], "the last report had nothing to fetch"


async def test_an_earlier_run_is_reported_from_what_was_kept(
    sn: ScriptedSn, ledger: Ledger, identities: dict[str, Identity], tmp_path: Path
) -> None:
    finish(ledger)
    first = await reported(sn, ledger, identities["UI-1"], tmp_path / "kept")
    ledger.join("op", "SWCI")
    ledger.send("op", Reset(forced=False))
    ledger.send("site-1", session())
    await reported(sn, ledger, identities["UI-1"], tmp_path / "kept")
    assert await reported(sn, ledger, identities["UI-1"], tmp_path / "kept", run=1) == first


@pytest.mark.parametrize("file", ["records.json", "checkpoint"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
async def test_damage_to_what_was_kept_costs_only_time(
    file: str, content: bytes, sn: ScriptedSn, ledger: Ledger, identities: dict[str, Identity], tmp_path: Path
) -> None:
    await reported(sn, ledger, identities["UI-1"], tmp_path / "kept")
    (found,) = (tmp_path / "kept").rglob(file)
    found.write_bytes(content)
    assert await reported(sn, ledger, identities["UI-1"], tmp_path / "kept") == recorded(ledger.blocks, "")
    assert sn.asked_from == [0, 0]


async def test_what_was_kept_of_another_chain_is_not_used(
    sn: ScriptedSn, ledger: Ledger, identities: dict[str, Identity], tmp_path: Path
) -> None:
    finish(ledger)
    await reported(sn, ledger, identities["UI-1"], tmp_path / "kept")
    del ledger.blocks[-1]  # the SN was restored from a copy
    assert await reported(sn, ledger, identities["UI-1"], tmp_path / "kept") == recorded(ledger.blocks, "")
    assert sn.asked_from == [0, 0]


async def test_a_chain_that_does_not_verify_is_reported_and_not_kept(
    sn: ScriptedSn, ledger: Ledger, identities: dict[str, Identity], tmp_path: Path
) -> None:
    ledger.blocks[-1] = b"x"
    found = await reported(sn, ledger, identities["UI-1"], tmp_path / "kept")
    assert found == recorded(ledger.blocks, "")
    assert found.problem.startswith(f"block {len(ledger.blocks) - 1}")
    assert not (tmp_path / "kept").exists()


async def test_a_report_needs_no_place_to_keep_what_it_has_verified(
    sn: ScriptedSn, ledger: Ledger, identities: dict[str, Identity], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for kept in (None, tmp_path / "file"):
        assert await reported(sn, ledger, identities["UI-1"], kept) == recorded(ledger.blocks, "")


async def test_networks_are_kept_apart(identities: dict[str, Identity], tmp_path: Path) -> None:
    first, second = Ledger(authority_in(tmp_path / "cert")), Ledger(authority_in(tmp_path / "cert"))
    second.join("sl-1")
    assert first.chain.network_id != second.chain.network_id
    async with scripted_sn(identities["SN-1"], []) as sn:
        for ledger in (first, second, first, second):
            await reported(sn, ledger, identities["UI-1"], tmp_path / "kept")
        assert sn.asked_from == [0, 0], "the second readings had nothing to fetch"


async def test_a_void_block_is_a_problem_in_every_report_and_what_follows_it_is_read(
    sn: ScriptedSn, ledger: Ledger, identities: dict[str, Identity], tmp_path: Path
) -> None:
    void = ledger.void()
    first = await reported(sn, ledger, identities["UI-1"], tmp_path / "kept")
    finish(ledger)
    second = await reported(sn, ledger, identities["UI-1"], tmp_path / "kept")
    third = await reported(sn, ledger, identities["UI-1"], tmp_path / "kept")
    assert first.problem.startswith(f"block {ledger.blocks.index(void)} is void")
    assert first.problem == second.problem
    assert second == third == recorded(ledger.blocks, "")
    assert not first.over
    assert second.over


async def test_a_reading_that_breaks_off_is_continued_by_the_next_one(
    sn: ScriptedSn, ledger: Ledger, identities: dict[str, Identity], tmp_path: Path
) -> None:
    whole = list(ledger.blocks)
    sn.ends = True
    ledger.blocks = whole[:-2]
    with pytest.raises(Unavailable, match="has ended the block stream"):
        await reported(sn, ledger, identities["UI-1"], tmp_path / "kept", height=len(whole) - 1)
    ledger.blocks = whole
    assert await reported(sn, ledger, identities["UI-1"], tmp_path / "kept") == recorded(whole, "")
    assert sn.asked_from == [0, len(whole) - 2]
