"""The chunks of one model that are here: what counts after which accidents, and who may still write."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmlearning.models.claims import Claim, Holding
from swarmlearning.models.parts import Overtaken, Parts, WrongChunk, packed, unpacked
from swarmlearning.models.store import NotHeldError, StoreError, TensorStore
from swarmlearning.tensors import digest
from swarmlearning.tensors.digest import ModelDigest, slice_root

CHUNK = 10
RECIPE = "5" * 64

Begun: TypeAlias = Callable[[int], tuple[Parts, bytes]]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "CHUNK", CHUNK)


def content(chunks: int) -> bytes:
    return bytes(index for index in range(chunks) for _ in range(CHUNK))[:-3]


def info_of(data: bytes) -> ModelDigest:
    return ModelDigest(len(data), tuple(blake3(data[at : at + CHUNK]).digest() for at in range(0, len(data), CHUNK)))


def parts_of(store: TensorStore, info: ModelDigest, name: str = "") -> Parts:
    parts = store.parts(name or info.root, info)
    assert parts is not None
    return parts


def claimed(parts: Parts, pace: float | None = None) -> Claim:
    claim = parts.claim(Holding(pace=pace), range(parts.layout.count))
    assert claim is not None
    return claim


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
            parts = parts_of(TensorStore(tmp_path / "store"), info_of(data))
            stack.enter_context(parts.used())
            return parts, data

        yield begin


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
@settings(max_examples=60)
def test_whatever_sources_do_every_chunk_comes_once_and_the_model_is_whole(
    tmp_path_factory: pytest.TempPathFactory, chunks: int, steps: list[tuple[int, bool]]
) -> None:
    """`steps`: which source does something, and whether it goes on or stops."""
    data, store = content(chunks), TensorStore(tmp_path_factory.mktemp("m"))
    parts, claims = parts_of(store, info_of(data)), dict[int, Claim]()
    with parts.used():
        for source, goes_on in [*steps, *[(0, True)] * (3 * chunks)]:
            if source not in claims:
                if (claim := parts.claim(Holding(), range(chunks))) is not None:
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
            claim = claimed(parts)
            while claim.first < claim.end:
                bring(parts, claim, data)
            parts.release(claim)
        assert store.commit_parts(parts) == info_of(data)
    assert store.path(parts.name).read_bytes() == data


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["write", "confirm", "stop"]))))
@settings(max_examples=60)
def test_whatever_liars_write_beside_others_the_model_is_right(
    tmp_path_factory: pytest.TempPathFactory, chunks: int, steps: list[tuple[int, str]]
) -> None:
    """Every source is taken to be fast, so each chunk is fetched from several; those with odd numbers lie."""
    data, store = content(chunks), TensorStore(tmp_path_factory.mktemp("m"))
    parts, claims = parts_of(store, info_of(data)), dict[int, Claim]()
    last = [(0, "write"), (0, "confirm")] * (2 * chunks)
    with parts.used(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("swarmlearning.models.claims.SLOWER", 0.0)
        for source, does in [*steps, *[(source, "stop") for source in range(4)], *last]:
            if source not in claims and (new := parts.claim(Holding(), range(chunks))) is not None:
                claims[source] = new
            claim = claims.get(source)
            if claim is None or claim.first >= claim.end:
                does = "stop"
            try:
                if claim is not None and does != "stop":
                    start, end = parts.layout.bounds(claim.first)
                    piece = data[start:end] if source % 2 == 0 else bytes(end - start)
                    parts.write(claim, memoryview(piece), start)
                    if does == "confirm":
                        parts.confirm(claim, blake3(piece).digest())
            except (Overtaken, WrongChunk):
                does = "stop"
            if does == "stop" and source in claims:
                parts.release(claims.pop(source))
        assert parts.complete
        store.commit_parts(parts)
    assert store.path(parts.name).read_bytes() == data


def test_a_chunk_of_several_sources_is_that_of_the_first_to_bring_it_whole(
    begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmlearning.models.claims.SLOWER", 0.0)
    parts, data = begun(1)
    slow, liar, fast = (claimed(parts, pace=1.0) for _ in range(3))
    parts.write(slow, memoryview(data[:3]), 0)
    parts.write(fast, memoryview(data), 0)
    parts.write(liar, memoryview(b"\xff" * len(data)), 0)
    with pytest.raises(WrongChunk):
        parts.confirm(liar, blake3(b"\xff" * len(data)).digest())
    parts.confirm(fast, blake3(data).digest())
    with pytest.raises(Overtaken):
        parts.write(slow, memoryview(b"\xff"), 3)
    with pytest.raises(Overtaken):
        parts.confirm(slow, b"")
    parts.finish()
    assert parts.path.read_bytes() == data


def test_a_chunk_that_does_not_fit_its_digest_is_fetched_again(begun: Begun) -> None:
    parts, data = begun(2)
    claim = claimed(parts)
    with pytest.raises(WrongChunk, match="chunk 0: the bytes are not those"):
        bring(parts, claim, b"\xff" * len(data))
    assert parts.held == 0
    parts.release(claim)
    again = claimed(parts)
    assert (again.first, again.end) == (0, 2)


def test_after_a_crash_only_what_was_noted_and_is_right_counts(begun: Begun, tmp_path: Path) -> None:
    parts, data = begun(4)
    claim = claimed(parts)
    for _ in range(2):
        bring(parts, claim, data)
    parts.note()
    bring(parts, claim, data)  # not noted any more
    store = TensorStore(tmp_path / "store")
    with store.partial(parts.name).open("r+b") as file:
        file.write(b"\xff")
    again = parts_of(store, parts.info)
    with again.used():
        assert again.held == CHUNK
        assert again.has(range(1, 2))
        found = [again.claim(Holding(), range(4)) for _ in range(2)]
        assert [each and (each.first, each.end) for each in found] == [(0, 1), (2, 4)]


def test_however_often_something_has_come_it_is_noted_at_times(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, data = begun(3)
    note = parts.path.with_suffix(".here")
    claim = claimed(parts)
    parts.note()
    bring(parts, claim, data)
    monkeypatch.setattr("swarmlearning.models.parts._NOTE_SECONDS", 600.0)
    parts.note_at_times()
    assert note.read_bytes() == b"\0\0\0"
    monkeypatch.setattr("swarmlearning.models.parts._NOTE_SECONDS", 0.0)
    parts.note_at_times()
    assert note.read_bytes() == b"\1\0\0"
    note.unlink()
    parts.note_at_times()
    assert not note.exists()  # nothing is new


def test_digests_that_have_become_known_are_kept_with_the_note(tmp_path: Path) -> None:
    data, store = content(3), TensorStore(tmp_path / "store")
    info = info_of(data)
    parts = parts_of(store, ModelDigest.unstated(info.layout), RECIPE)
    with parts.used():
        parts.state(range(2), info.chunks[:2])
        parts.note()
        again = TensorStore(tmp_path / "store").partial_info(RECIPE)  # after a crash
        assert again is not None
        assert again.chunks == (*info.chunks[:2], digest.UNSTATED)


@pytest.mark.parametrize("note", [b"", b"\x01", b"\x01" * 100])
def test_a_note_of_another_length_harms_nothing(tmp_path: Path, note: bytes) -> None:
    data, store = content(4), TensorStore(tmp_path / "store")
    info = info_of(data)
    store.noted(info.root).write_bytes(note)
    store.partial(info.root).write_bytes(data[: 2 * CHUNK])
    parts = parts_of(store, info)
    with parts.used():
        assert parts.held == min(2, len(note)) * CHUNK


def test_between_two_users_chunks_are_digested_again_only_if_somebody_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, store = content(3), TensorStore(tmp_path / "store")
    parts = parts_of(store, info_of(data))
    with parts.used():
        claim = claimed(parts)
        bring(parts, claim, data)
        bring(parts, claim, data)
        parts.release(claim)
    digested: list[int] = []

    def counted(fd: int, layout: digest.Layout, index: int) -> bytes:
        digested.append(index)
        return digest.digest_chunk(fd, layout, index)

    monkeypatch.setattr("swarmlearning.models.parts.digest_chunk", counted)
    with parts.used():
        assert (parts.held, digested) == (2 * CHUNK, [])
    with parts.path.open("r+b") as file:
        file.write(b"\xff")
    store.open_part(parts.name, range(1, 2))[0].close()
    assert (parts.held, digested) == (CHUNK, [0, 1])
    parts.path.unlink()
    with parts.used():
        assert parts.held == 0


def test_a_part_of_a_model_is_read_once_all_its_chunks_are_here(begun: Begun, tmp_path: Path) -> None:
    parts, data = begun(3)
    parts.note()
    store = TensorStore(tmp_path / "store")
    mine = parts_of(store, parts.info)
    for missing in (parts.name, "0" * 64):
        with pytest.raises(NotHeldError):
            store.open_part(missing, range(1, 3))
    with mine.used():
        claim = mine.claim(Holding(), range(1, 3))
        assert claim is not None
        bring(mine, claim, data)
        bring(mine, claim, data)
        file, info = store.open_part(parts.name, range(1, 3))
        with file:
            assert info == mine.info
            assert file.read()[CHUNK:] == data[CHUNK:]
        with pytest.raises(NotHeldError, match="not all of the chunks 0 to 1"):
            store.open_part(parts.name, range(2))


def test_a_result_is_put_together_under_the_name_of_its_recipe(tmp_path: Path) -> None:
    data, store = content(3), TensorStore(tmp_path / "store")
    info = info_of(data)
    parts = parts_of(store, ModelDigest.unstated(info.layout), RECIPE)
    with parts.used():
        parts.path.write_bytes(data[: 2 * CHUNK])  # merged here
        assert parts.own(range(2)) == info.chunks[:2]
        with pytest.raises(StoreError):
            store.commit_parts(parts)
    again = parts_of(TensorStore(tmp_path / "store"), info, RECIPE)  # after a crash
    with again.used():
        assert again.info.chunks == (*info.chunks[:2], digest.UNSTATED)
        assert again.held == 2 * CHUNK
        again.state(range(1, 3), (b"?" * 32, info.chunks[2]))  # not what was merged here
        assert [again.has(range(index, index + 1)) for index in range(3)] == [True, False, False]
        again.state(range(1, 3), info.chunks[1:])
        claim = again.claim(Holding(), range(1, 3))
        assert claim is not None
        bring(again, claim, data)
        bring(again, claim, data)
    store = TensorStore(tmp_path / "store")
    assert store.commit_parts(parts_of(store, info, RECIPE)) == info
    assert store.path(info.root).read_bytes() == data
    assert store.parts(RECIPE) is None
    assert {path.suffix for path in (tmp_path / "store").iterdir()} == {".safetensors", ".chunks"}


def test_chunks_that_are_here_under_the_name_of_a_recipe_are_copied_where_they_fit(tmp_path: Path) -> None:
    data, store = content(4), TensorStore(tmp_path / "store")
    info = info_of(data)
    merged = parts_of(store, ModelDigest.unstated(info.layout), RECIPE)
    whole = parts_of(store, info)
    with merged.used(), whole.used():
        merged.path.write_bytes(data[:CHUNK] + b"?" * CHUNK + data[2 * CHUNK : 3 * CHUNK])
        merged.own(range(3))
        with merged.path.open("r+b") as file:
            file.seek(2 * CHUNK)
            file.write(b"!")  # it was right when it was confirmed
        whole.copy_from(merged)
        assert [whole.has(range(index, index + 1)) for index in range(4)] == [True, False, False, False]
        bring(whole, claimed(whole), data)
        assert whole.held == 2 * CHUNK
    other = parts_of(store, info_of(content(3)))
    with merged.used(), other.used():
        other.copy_from(merged)
        assert other.held == 0


def test_the_root_of_a_slice_names_its_place_its_digests_and_the_model_s_size() -> None:
    info = info_of(content(4))
    other = ModelDigest(info.size + 1, info.chunks)
    swapped = ModelDigest(info.size, (info.chunks[0], info.chunks[2], info.chunks[1], info.chunks[3]))
    roots = {slice_root(each, chunks) for each in (info, other, swapped) for chunks in (range(1, 3), range(2, 4))}
    assert len(roots) == 6
    assert slice_root(ModelDigest(info.size, (digest.UNSTATED, *info.chunks[1:])), range(1, 3)) in roots


@given(st.binary(max_size=40))
def test_bitmaps_are_read_as_they_are_written(bits: bytes) -> None:
    here = bytes(each & 1 for each in bits)
    assert len(packed(here)) == -(-len(here) // 8)
    assert unpacked(packed(here), len(here)) == here
