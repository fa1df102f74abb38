from pathlib import Path
from unittest import mock

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.tensors import digest
from swarmlearning.tensors.digest import CHUNK, DigestError, ModelDigest, chunk_length, digest_file, is_named


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def expected(data: bytes, chunk: int) -> ModelDigest:
    return ModelDigest(len(data), tuple(blake3(data[at : at + chunk]).digest() for at in range(0, len(data), chunk)))


def test_the_digest_of_a_model_never_changes_between_versions(tmp_path: Path) -> None:
    # The names of all models, on every ledger: two whole chunks and five bytes.
    data = pattern(2 * CHUNK + 5)
    (tmp_path / "m").write_bytes(data)
    found = digest_file(tmp_path / "m")
    assert found == expected(data, 8 * 1024 * 1024)
    listed = b"swarm-model-1" + (16 * 1024 * 1024 + 5).to_bytes(8, "little") + b"".join(found.chunks)
    assert found.root == blake3(listed).hexdigest()
    assert found.root == "33e5b514edc7438938de6f02d16aeeb7163caea1870cedfbe6e96d6a37dc90f5"


def test_the_second_format_keeps_the_header_apart(tmp_path: Path) -> None:
    # The names of all models of networks under its rules: a header of 24 bytes, a whole chunk and five bytes.
    data = (16).to_bytes(8, "little") + b"{}" + b" " * 14 + pattern(256 * 1024 + 5)
    (tmp_path / "m").write_bytes(data)
    found = digest_file(tmp_path / "m", format=2)
    bounds = [(0, 24), (24, 24 + 256 * 1024), (24 + 256 * 1024, len(data))]
    assert [found.layout.bounds(index) for index in range(found.layout.count)] == bounds
    assert found.chunks == tuple(blake3(data[start:end]).digest() for start, end in bounds)
    size, header = len(data).to_bytes(8, "little"), (24).to_bytes(4, "little")
    assert found.root == blake3(b"swarm-model-2" + size + header + b"".join(found.chunks)).hexdigest()
    assert found.root == "25b4abd6955ff1c345b66392dfa7341b4ca3cd686dc29731f2ce12c6e9fec816"
    assert ModelDigest.from_bytes(found.to_bytes()) == found
    assert is_named(tmp_path / "m", found.root)
    assert is_named(tmp_path / "m", digest_file(tmp_path / "m").root)
    assert not is_named(tmp_path / "m", "0" * 64)


@pytest.mark.parametrize(
    ("data", "length"),
    [(0, 2**18), (2**18, 2**18), (2**30, 2**18), (2**30 + 1, 2**19), (2**40, 2**28), (2**63, 2**51)],
)
def test_chunks_of_the_second_format_are_as_small_as_their_number_allows(data: int, length: int) -> None:
    assert chunk_length(data) == length


@pytest.mark.parametrize("start", [b"", bytes(7), (1).to_bytes(8, "little"), (16).to_bytes(8, "little") + bytes(15)])
def test_what_is_no_model_file_has_no_digest_of_the_second_format(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "m").write_bytes(start)
    with pytest.raises(DigestError, match="no model file"):
        digest_file(tmp_path / "m", format=2)
    assert not is_named(tmp_path / "m", "0" * 64)


def test_an_empty_file_has_a_digest(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"")
    assert digest_file(tmp_path / "m") == ModelDigest(0, ())


@pytest.mark.parametrize("size", [1, 15, 16, 17, 31, 32, 33, 160, 161])
@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_the_digest_does_not_depend_on_the_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, threads: int
) -> None:
    monkeypatch.setattr(digest, "CHUNK", 16)
    monkeypatch.setattr(digest, "_PIECE", 7)  # does not divide a chunk
    (tmp_path / "m").write_bytes(pattern(size))
    assert digest_file(tmp_path / "m", threads) == expected(pattern(size), 16)


@given(st.binary(max_size=100), st.data())
def test_a_stored_chunk_list_is_read_back_and_every_change_of_it_is_noticed(data: bytes, draw: st.DataObject) -> None:
    with mock.patch.object(digest, "CHUNK", 16):
        original = expected(data, 16)
        stored = bytearray(original.to_bytes())
        assert ModelDigest.from_bytes(bytes(stored)) == original
        stored[draw.draw(st.integers(0, len(stored) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
        try:
            assert ModelDigest.from_bytes(bytes(stored)).root != original.root
        except DigestError:
            pass


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a chunk list"),
        (b"swarm-model-3" + bytes(8), "not a chunk list"),
        (b"swarm-model-2" + bytes(8), "cannot have 0 of 0 bytes"),
        (b"swarm-model-2" + (100).to_bytes(8, "little") + (104).to_bytes(4, "little"), "cannot have 104 of 100"),
        (b"swarm-model-2" + (100).to_bytes(8, "little") + (12).to_bytes(4, "little"), "cannot have 12 of 100"),
        (b"swarm-model-2" + (100).to_bytes(8, "little") + (16).to_bytes(4, "little"), "does not fit a model of 100"),
        (b"swarm-model-2" + b"\xff" * 8 + (16).to_bytes(4, "little") + bytes(64), "does not fit"),
        (b"swarm-model-2" + b"\xff" * 12 + bytes(64), "cannot have"),
        (b"swarm-model-1", "does not fit a model of 0 bytes"),
        (b"swarm-model-1" + bytes(7), "does not fit"),
        (b"swarm-model-1" + bytes(8) + bytes(32), "does not fit a model of 0 bytes"),
        (b"swarm-model-1" + (1).to_bytes(8, "little"), "does not fit a model of 1 bytes"),
        (b"swarm-model-1" + (1).to_bytes(8, "little") + bytes(33), "does not fit"),
        (b"swarm-model-1" + b"\xff" * 8 + bytes(32), "does not fit"),
    ],
)
def test_bytes_that_are_no_chunk_list_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DigestError, match=message):
        ModelDigest.from_bytes(data)


def test_the_digest_of_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest_file(tmp_path / "none")
