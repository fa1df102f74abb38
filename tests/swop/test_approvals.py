"""What the site's operator is asked, and answers: files, and a socket that wakes the SWOP."""

import asyncio
import os
from pathlib import Path

import pytest

from swarmlearning.node.errors import NodeError
from swarmlearning.swop import approvals as module
from swarmlearning.swop.approvals import Approvals, Question

A, B = "a" * 64, "ab" * 32


def question(digest: str) -> Question:
    return Question(digest, "runner", "task", "RUN_SWARM", "CN=SWCI-1 of b", ("a reason",), ("task:", "Command: x"))


def test_a_question_waits_until_it_is_answered(tmp_path: Path) -> None:
    site = Approvals(tmp_path)
    assert site.waiting() == []
    assert site.ask(question(A))
    assert not site.ask(question(A))
    assert [each.digest for each in site.waiting()] == [A]
    assert site.answer(A[:8], approved=True) == A
    assert site.waiting() == []
    assert site.answers() == (frozenset({A}), frozenset())
    site.answer(A, approved=False)
    assert site.answers() == (frozenset(), frozenset({A}))


def test_an_answer_names_one_question(tmp_path: Path) -> None:
    site = Approvals(tmp_path)
    site.ask(question("aaaaaaa" + "b" * 57))
    site.ask(question("aaaaaaa" + "c" * 57))
    with pytest.raises(NodeError, match="more than one question has the digest 'aaaaaaa'"):
        site.answer("aaaaaaa", approved=True)
    for named in ("ffffffff", "aaaaa", "../../x"):
        with pytest.raises(NodeError, match="no question has the digest"):
            site.answer(named, approved=True)


def test_old_questions_give_way_and_damaged_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST_QUESTIONS", 3)
    site = Approvals(tmp_path)
    for number in range(5):
        site.ask(question(f"{number:064x}"))
        os.utime(tmp_path / "approvals" / f"{number:064x}.json", (number, number))
    assert [int(each.digest, 16) for each in site.waiting()] == [2, 3, 4]
    (tmp_path / "approvals" / f"{3:064x}.json").write_bytes(b"{")
    assert [int(each.digest, 16) for each in site.waiting()] == [2, 4]
    assert "no question can be read from it" in caplog.text


async def test_an_answer_wakes_the_swop(tmp_path: Path) -> None:
    site, woken = Approvals(tmp_path), asyncio.Event()
    assert not site.wake()
    async with site.watched(woken.set):
        assert (tmp_path / "approvals").stat().st_mode & 0o077 == 0
        assert await asyncio.to_thread(site.wake)
        await asyncio.wait_for(woken.wait(), 120)
    assert not site.wake()
