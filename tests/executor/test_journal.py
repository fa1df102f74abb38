"""What a SWOP remembers across a SIGKILL, and what becomes of a damaged file."""

from pathlib import Path

import pytest

from support.uids import uid
from swarmlearning.node.errors import NodeError
from swarmlearning.swop.facts import Memory, PairMemory
from swarmlearning.swop.journal import DAMAGED, FILE, Journal
from swarmlearning.swop.managing import Attempt

ATTEMPT = Attempt("runner", 3, 2, "task", "d" * 64)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.read() is None
    pairs = (PairMemory(0, uid("a")), PairMemory(3, uid("b"), "failed", "ml-exit", -9))
    memory = Memory(ATTEMPT, "RUN_SWARM", "a" * 64, 12.5, pairs)
    journal.write(memory)
    assert Journal(tmp_path).read() == memory
    journal.write(None)
    assert Journal(tmp_path).read() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"attempt": 1}', b"\x00" * 100, b"\xff"])
def test_a_damaged_journal_is_named_set_aside_and_lost(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert Journal(tmp_path).read() is None
    assert f"{tmp_path / FILE} is damaged" in caplog.text
    assert (tmp_path / (FILE + DAMAGED)).read_bytes() == content
    assert not (tmp_path / FILE).exists()


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=f"{FILE}: cannot be written: No such file"):
        Journal(tmp_path / "gone").write(None)
