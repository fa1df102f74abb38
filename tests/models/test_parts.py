"""Claims of several sources on the chunks of one model, and the file that they fill."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeAlias

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmlearning.models.parts import Claim, Overtaken, Parts, WrongChunk
from swarmlearning.models.store import TensorStore
from swarmlearning.tensors import digest
from swarmlearning.tensors.digest import ModelDigest

CHUNK = 10


Begun: TypeAlias = Callable[[int], tuple[Parts, bytes]]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "CHUNK", CHUNK)


def content(chunks: int) -> bytes:
    return bytes(index for index in range(chunks) for _ in range(CHUNK))[:-3]


def info_of(data: bytes) -> ModelDigest:
    return ModelDigest(len(data), tuple(blake3(data[at : at + CHUNK]).digest() for at in range(0, len(data), CHUNK)))


def bring(parts: Parts, claim: Claim, data: bytes) -> None:
    """The next chunk of a claim, from a source that has this."""
    start, end = parts.layout.bounds(claim.first)
    parts.write(claim, memoryview(data[start:end]), start)
    parts.confirm(claim, blake3(data[start:end]).digest())


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Begun]:
    """Begins a model of so many chunks."""
    with ExitStack() as stack:

        def begin(chunks: int) -> tuple[Parts, bytes]:
            data = content(chunks)
            return stack.enter_context(closing(Parts(TensorStore(tmp_path / "store"), info_of(data)))), data

        yield begin


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
@settings(max_examples=60)
def test_whatever_sources_do_every_chunk_comes_once_and_the_model_is_whole(
    tmp_path_factory: pytest.TempPathFactory, chunks: int, steps: list[tuple[int, bool]]
) -> None:
    """`steps`: which source does something, and whether it goes on or stops."""
    data = content(chunks)
    parts = Parts(TensorStore(tmp_path_factory.mktemp("m")), info_of(data))
    claims: dict[int, Claim] = {}
    for source, goes_on in [*steps, *[(0, True)] * (3 * chunks)]:
        if source not in claims:
            if (claim := parts.claim()) is not None:
                claims[source] = claim
        elif goes_on and claims[source].first < claims[source].end:
            bring(parts, claims[source], data)
        else:
            parts.release(claims.pop(source))
        taken = [index for claim in claims.values() for index in range(claim.first, claim.end)]
        assert len(taken) == len(set(taken))
    for claim in claims.values():  # the others stop
        parts.release(claim)
    while not parts.complete:
        claim = parts.claim()
        assert claim is not None
        while claim.first < claim.end:
            bring(parts, claim, data)
        parts.release(claim)
    assert parts.commit().read_bytes() == data


def test_a_free_source_takes_over_the_second_half_of_the_longest_claim(begun: Begun) -> None:
    parts, data = begun(9)
    first = parts.claim()
    assert first is not None
    bring(parts, first, data)
    second, third = parts.claim(), parts.claim()
    assert second is not None
    assert third is not None
    assert [(each.first, each.end) for each in (first, second, third)] == [(1, 3), (5, 9), (3, 5)]


def test_the_last_chunk_is_taken_over_only_from_a_source_that_is_far_slower(
    begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("swarmlearning.models.parts.time.monotonic", lambda: now)
    parts, data = begun(1)
    slow = parts.claim()
    assert slow is not None
    slow.since = now
    parts.write(slow, memoryview(b"\xff"), 0)
    now += 9
    assert parts.claim() is None  # from a source of which nothing is known
    assert parts.claim(5.0) is None
    fast = parts.claim(4.0)
    assert fast is not None
    with pytest.raises(Overtaken):
        parts.write(slow, memoryview(b"\xff"), 1)
    with pytest.raises(Overtaken):
        parts.confirm(slow, b"")
    bring(parts, fast, data)
    parts.release(slow)
    assert parts.commit().read_bytes() == data


def test_a_chunk_that_does_not_fit_its_digest_is_fetched_again(begun: Begun) -> None:
    parts, data = begun(2)
    claim = parts.claim()
    assert claim is not None
    with pytest.raises(WrongChunk, match="chunk 0: the bytes are not those"):
        bring(parts, claim, b"\xff" * len(data))
    assert parts.held == 0
    parts.release(claim)
    again = parts.claim()
    assert again is not None
    assert (again.first, again.end) == (0, 2)


def test_after_a_crash_only_what_was_noted_and_is_right_counts(begun: Begun, tmp_path: Path) -> None:
    parts, data = begun(4)
    claim = parts.claim()
    assert claim is not None
    for _ in range(2):
        bring(parts, claim, data)
    parts.note()
    bring(parts, claim, data)  # not noted any more
    store = TensorStore(tmp_path / "store")
    with store.partial(parts.info.root).open("r+b") as file:
        file.write(b"\xff")
    with closing(Parts(store, parts.info)) as again:
        assert again.held == CHUNK
        assert [each and (each.first, each.end) for each in (again.claim(), again.claim())] == [(0, 1), (2, 4)]


@pytest.mark.parametrize("note", [b"", b"\x01", b"\x01" * 100])
def test_a_note_of_another_length_harms_nothing(begun: Begun, tmp_path: Path, note: bytes) -> None:
    parts, data = begun(4)
    parts.close()
    store = TensorStore(tmp_path / "store")
    store.noted(parts.info.root).write_bytes(note)
    store.partial(parts.info.root).write_bytes(data[: 2 * CHUNK])
    with closing(Parts(store, parts.info)) as again:
        assert again.held == min(2, len(note)) * CHUNK
