"""The file server over real mTLS: parts of models, members only, and nothing but models."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
from blake3 import blake3

from support.serving import detail, request, serving, serving_models
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.models.fileserver import HEIGHT_HEADER, RangeError, file_app, parse_range
from swarmlearning.models.store import TensorStore
from swarmlearning.tensors.digest import ModelDigest

Identities = dict[str, Identity]
SIZE = 2_500_000
CONTENT = blake3(b"model").digest(SIZE)
UNKNOWN = "0" * 64


Serve = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture
def serve(identities: Identities) -> Serve:
    """SL-1 serves the store given; SL-2 is a member, SL-3 is not."""
    return partial(serving_models, identity=identities["SL-1"], members=[identities["SL-2"]])


@pytest.fixture
async def info(store: TensorStore, tmp_path: Path) -> ModelDigest:
    (tmp_path / "model").write_bytes(CONTENT)
    return await store.adopt(tmp_path / "model")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=10-", (10, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=50-1000", (50, 100)),
        ("bytes=0-9223372036854775807", (0, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-100", (0, 100)),
        ("bytes=-101", (0, 100)),
        ("bytes=-9999999999999999999", (0, 100)),
        ("bytes=100-", 416),
        ("bytes=100-200", 416),
        ("bytes=9999999999999999999-", 416),
        ("bytes=-0", 416),
        ("", 400),
        ("bytes=", 400),
        ("bytes=-", 400),
        ("bytes=5-4", 400),
        ("bytes=0-1,5-6", 400),
        ("bytes=0-1, bytes=5-6", 400),
        ("bytes=" + ",".join(["0-"] * 1000), 400),
        ("bytes=0-" + "9" * 5000, 400),
        ("bytes=+1-2", 400),
        ("bytes=1_0-20", 400),
        ("bytes= 1-2", 400),
        ("bytes=0x1-0x2", 400),
        ("items=0-1", 400),
        ("bytes=\u00b2-", 400),
    ],
)
def test_a_range_header_is_parsed_or_refused_with_its_status(value: str, expected: tuple[int, int] | int) -> None:
    if isinstance(expected, tuple):
        assert parse_range(value.encode("latin1"), 100) == expected
    else:
        with pytest.raises(RangeError) as caught:
            parse_range(value.encode("latin1"), 100)
        assert caught.value.status == expected


def test_no_range_of_an_empty_file_can_be_satisfied() -> None:
    for value in (b"bytes=0-", b"bytes=-1"):
        with pytest.raises(RangeError, match="0 bytes"):
            parse_range(value, 0)


async def test_a_member_reads_a_whole_model(
    serve: Serve, identities: Identities, store: TensorStore, info: ModelDigest
) -> None:
    async with serve(store) as server:
        status, headers, body = await request(server, identities["SL-2"], f"/models/{info.root}")
    assert (status, body) == (200, CONTENT)
    assert headers["etag"] == f'"{info.root}"'
    assert headers["content-length"] == str(SIZE)
    assert headers["accept-ranges"] == "bytes"
    assert "server" not in headers


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1048575-1048577", 1048575, 1048578),
        ("bytes=-7", SIZE - 7, SIZE),
        ("bytes=5-9223372036854775807", 5, SIZE),
        ("bytes=-9999999999999999999", 0, SIZE),
    ],
)
async def test_a_range_request_returns_that_part_of_the_model(
    value: str, start: int, end: int, serve: Serve, identities: Identities, store: TensorStore, info: ModelDigest
) -> None:
    async with serve(store) as server:
        status, headers, body = await request(server, identities["SL-2"], f"/models/{info.root}", {"Range": value})
    assert (status, body) == (206, CONTENT[start:end])
    assert headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("bytes=0-1,3-4", 400),
        ("bytes=" + ",".join(["0-"] * 5000), 400),  # a few bytes that ask for gigabytes
        ("bytes=0-" + "9" * 5000, 400),
        (f"bytes={SIZE}-", 416),
        ("bytes=9999999999999999999-", 416),
    ],
)
async def test_an_invalid_or_unsatisfiable_range_is_refused(
    value: str, status: int, serve: Serve, identities: Identities, store: TensorStore, info: ModelDigest
) -> None:
    async with serve(store) as server:
        answer = await request(server, identities["SL-2"], f"/models/{info.root}", {"Range": value})
    assert answer[0] == status
    assert answer[1]["content-range"] == f"bytes */{SIZE}"
    assert "range" in detail(answer)


async def test_a_bundle_is_the_chunk_list_followed_by_the_model(
    serve: Serve, identities: Identities, store: TensorStore, info: ModelDigest
) -> None:
    async with serve(store) as server:
        status, _, chunks = await request(server, identities["SL-2"], f"/models/{info.root}/chunks")
        assert status == 200
        assert ModelDigest.from_bytes(chunks) == info
        status, headers, body = await request(
            server, identities["SL-2"], f"/models/{info.root}/bundle", {"Range": "bytes=5-6"}
        )
    assert (status, body) == (200, chunks + CONTENT)
    assert headers["x-chunk-list-bytes"] == str(len(chunks))


@pytest.mark.parametrize("part", ["", "/chunks", "/bundle"])
async def test_a_head_request_returns_the_headers_of_a_get_request(
    part: str, serve: Serve, identities: Identities, store: TensorStore, info: ModelDigest
) -> None:
    async with serve(store) as server:
        path = f"/models/{info.root}{part}"
        head = await request(server, identities["SL-2"], path, method="HEAD")
        get = await request(server, identities["SL-2"], path)
    assert head == (200, get[1], b"")


async def test_a_model_is_refused_to_whoever_is_not_a_member(
    serve: Serve, identities: Identities, store: TensorStore, info: ModelDigest
) -> None:
    async with serve(store) as server:
        for digest in (info.root, UNKNOWN):  # a stranger does not learn what is held
            for part in ("", "/chunks", "/bundle"):
                answer = await request(server, identities["SL-3"], f"/models/{digest}{part}")
                assert answer[0] == 403
                assert "is not that of a node that may have" in detail(answer)
        assert (await request(server, identities["SL-2"], f"/models/{info.root}"))[0] == 200


async def test_permission_to_read_is_checked_for_the_certificate_and_the_model_of_the_request(
    identities: Identities, store: TensorStore, info: ModelDigest
) -> None:
    asked: list[tuple[str, str, range]] = []

    def may_read(thumbprint: str, digest: str, chunks: range) -> bool:
        asked.append((thumbprint, digest, chunks))
        return True

    async with serving(file_app(store, may_read), identities["SL-1"]) as server:
        await request(server, identities["SL-3"], f"/models/{info.root}")
    who = identities["SL-3"].thumbprint
    assert asked == [(who, info.root, range(0)), (who, info.root, range(len(info.chunks)))]


@pytest.mark.parametrize(("height", "status"), [("7", 200), ("8", 403), ("x", 403), ("9" * 40, 403), ("", 403)])
async def test_a_reader_that_is_ahead_on_the_ledger_is_not_refused_before_this_node_has_caught_up(
    identities: Identities, store: TensorStore, info: ModelDigest, height: str, status: int
) -> None:
    reached: list[int] = []

    async def catch_up(to: int) -> None:
        reached.append(to)

    app = file_app(store, lambda thumbprint, digest, chunks: 7 in reached, catch_up=catch_up)
    async with serving(app, identities["SL-1"]) as server:
        headers = {HEIGHT_HEADER: height} if height else {}
        answer = await request(server, identities["SL-2"], f"/models/{info.root}", headers=headers)
    assert answer[0] == status


async def test_a_request_for_a_model_that_is_not_held_is_answered_404_and_reported_to_the_node(
    serve: Serve, identities: Identities, store: TensorStore
) -> None:
    missed: list[str] = []
    async with serve(store, on_missing=missed.append) as server:
        answer = await request(server, identities["SL-2"], f"/models/{UNKNOWN}")
    assert answer[0] == 404
    assert detail(answer) == f"model {UNKNOWN} is not held here; request it from another peer"
    assert missed == [UNKNOWN], "its node has to know that what it may believe to have is gone"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/models",
        "/models/",
        "/models/..",
        "/models/../secret",
        "/models/%2e%2e%2fsecret",
        "/models/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/models//etc/passwd",
        f"/models/{'A' * 64}",
        f"/models/{'a' * 65}",
        f"/models/{'a' * 64}%00",
        f"/models/{'a' * 64}%0a",
        f"/models/{'a' * 64}/",
        f"/models/{'a' * 64}/../{'a' * 64}",
        f"/models/{'a' * 64}.safetensors",
        f"/models/{'a' * 64}/chunks/",
        f"/x/models/{'a' * 64}",
        f"/models/{'%D9%A1' * 64}",
        "/models/" + "a" * 60_000,
    ],
)
async def test_a_path_that_is_not_that_of_a_model_is_not_found(
    path: str, serve: Serve, identities: Identities, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    async with serve(TensorStore(tmp_path / "store")) as server:
        answer = await request(server, identities["SL-2"], path)
    assert answer[0] == 404
    assert "a model is at /models/<digest>" in detail(answer)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_the_file_server_allows_no_method_that_changes_anything(
    method: str, serve: Serve, identities: Identities, store: TensorStore
) -> None:
    async with serve(store) as server:
        status, headers, _ = await request(server, identities["SL-2"], f"/models/{UNKNOWN}", method=method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


async def test_the_file_server_answers_is_up_to_anybody_it_trusts(
    serve: Serve, identities: Identities, store: TensorStore
) -> None:
    async with serve(store) as server:
        status, _, body = await request(server, identities["SL-3"], "/is_up")
    assert (status, body) == (200, b"OK")
