from pathlib import Path
from unittest import mock

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.tensors import digest
from swarmlearning.tensors.digest import CHUNK, DigestError, ModelDigest, digest_file


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
        (b"swarm-model-2" + bytes(8), "not a chunk list"),
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
