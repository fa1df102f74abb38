"""Downloads from servers that break the rules, and archives with tricks: what comes in, and what is refused."""

import asyncio
import gzip
import hashlib
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from swarmlearning.swop import downloading, extracting
from swarmlearning.swop.content import DEFAULT_BOUNDS, Bounds, fill
from swarmlearning.swop.managing import ManagerError
from swarmlearning.taskfiles.definition import Operation

DATA = os.urandom(200_000)
Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """The URL of an HTTP server that answers each request, given as its head, in this way."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(await reader.readuntil(b"\r\n\r\n"), writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


def head(status: str, **headers: object) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""]).encode()


def whole(body: bytes) -> Answer:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head("200 OK", Content_Length=len(body)) + body)

    return answer


async def refusal(
    folder: Path, *operations: Operation, bounds: Bounds = DEFAULT_BOUNDS, roots: tuple[Path, ...] = ()
) -> str:
    with pytest.raises(ManagerError) as caught:
        await fill(folder, operations, roots, bounds)
    assert caught.value.reason in ("download", "unsupported")
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]
    return str(caught.value)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    folder = tmp_path / "content"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(downloading, "LONGEST_PAUSE", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


async def test_a_file_is_downloaded_under_the_name_of_its_url(content: Path) -> None:
    async with server(whole(DATA)) as url:
        digests = await fill(content, [Operation("DOWNLOAD", f"{url}/a/mnist%20data.bin")])
    assert (content / "mnist data.bin").read_bytes() == DATA
    assert digests == [f"sha256:{hashlib.sha256(DATA).hexdigest()}"]


async def test_a_download_that_breaks_off_is_resumed(content: Path) -> None:
    requests: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        requests.append(request)
        if len(requests) == 1:
            writer.write(head("200 OK", Content_Length=len(DATA), ETag='"1"') + DATA[:100_000])
        else:
            assert b"Range: bytes=100000-" in request
            assert b'If-Range: "1"' in request
            span = f"bytes 100000-{len(DATA) - 1}/{len(DATA)}"
            writer.write(head("206 Partial", Content_Length=100_000, Content_Range=span, ETag='"1"') + DATA[100_000:])

    async with server(answer) as url:
        await fill(content, [Operation("DOWNLOAD", url, "x/y.bin")])
    assert (content / "x/y.bin").read_bytes() == DATA
    assert len(requests) == 2


async def test_a_download_goes_through_the_proxy_of_its_scheme(content: Path) -> None:
    requests: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        requests.append(request)
        await whole(b"data")(request, writer)

    async with server(answer) as proxy:
        variables = {"HTTP_PROXY": "http://other:1", "http_proxy": proxy, "no_proxy": "direct.example"}
        operation = Operation("DOWNLOAD", "http://far.invalid/f")
        await fill(content, [operation], variables=variables)
    assert requests[0].startswith(b"GET http://far.invalid/f HTTP/1.1")
    assert (content / "f").read_bytes() == b"data"


async def test_a_server_that_promises_more_than_it_sends_is_given_up(content: Path) -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head("200 OK", Content_Length=10**15) + b"x" * 1000)

    async with server(answer) as url:
        await refusal(content, Operation("DOWNLOAD", f"{url}/f"))


async def test_a_server_that_drips_is_given_up(content: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only once it drips the time is short: until then it is this machine that may be slow."""

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        monkeypatch.setattr(downloading, "WINDOW_SECONDS", 0.2)
        writer.write(head("200 OK", Content_Length=10_000_000))
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(answer) as url:
        assert "too slow" in await refusal(content, Operation("DOWNLOAD", f"{url}/f"))


@pytest.mark.parametrize("endless", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_a_server_whose_answer_never_begins_is_given_up(
    content: Path, monkeypatch: pytest.MonkeyPatch, endless: bytes
) -> None:
    monkeypatch.setattr(downloading, "WINDOW_SECONDS", 0.2)

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(endless)
            await writer.drain()
            await asyncio.sleep(0.01)

    async with server(answer) as url:
        assert "no answer has begun within 0 s" in await refusal(content, Operation("DOWNLOAD", f"{url}/file", ""))


@pytest.mark.parametrize("url", ["http://a..b/x", f"http://{'a' * 64}.org/x", "http://[::1/x", "http://[zz]/x"])
async def test_a_url_that_names_no_host_is_refused_wherever_it_comes_from(content: Path, url: str) -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head("302 Found", Location=url, Content_Length=0))

    for out in ("", "x"):
        assert "no valid URL" in await refusal(content, Operation("DOWNLOAD", url, out))
    async with server(answer) as redirecting:
        assert "no valid URL" in await refusal(content, Operation("DOWNLOAD", f"{redirecting}/file", ""))


async def test_a_file_url_with_a_nul_is_refused(content: Path, tmp_path: Path) -> None:
    found = await refusal(content, Operation("DOWNLOAD", "file:///a%00b", "x"), roots=(tmp_path,))
    assert "has no NUL character" in found


async def test_a_file_without_an_end_is_cut_off_at_the_bound(content: Path) -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head("200 OK"))
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()

    async with server(answer) as url:
        message = await refusal(content, Operation("DOWNLOAD", f"{url}/f"), bounds=Bounds(size=1_000_000))
    assert "larger than the 1000000 bytes" in message


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
async def test_redirects_lead_to_http_only(content: Path, location: str) -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head("302 Found", Location=location, Content_Length=0))

    async with server(answer) as url:
        assert "redirects" in await refusal(content, Operation("DOWNLOAD", f"{url}/f"))


async def test_what_the_server_refuses_is_said(content: Path) -> None:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head("404 Not Found", Content_Length=0))

    async with server(answer) as url:
        assert "404 Not Found" in await refusal(content, Operation("DOWNLOAD", f"{url}/f"))


async def test_files_of_the_site_come_from_the_allowed_folders_alone(content: Path, tmp_path: Path) -> None:
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    allowed.mkdir()
    secret.write_text("secret")
    (allowed / "a").write_text("a")
    (allowed / "link").symlink_to(secret)
    await fill(content, [Operation("DOWNLOAD", f"file://{allowed}/a")], [allowed])
    assert (content / "a").read_text() == "a"
    for url in (f"file://{secret}", f"file://{allowed}/link", f"file://{allowed}/../secret"):
        assert "none of the folders" in await refusal(content, Operation("DOWNLOAD", url), roots=(allowed,))
    assert "file of this host" in await refusal(content, Operation("DOWNLOAD", "file://other/a"), roots=(allowed,))
    assert "only http" in await refusal(content, Operation("DOWNLOAD", "ftp://h/a"))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
async def test_paths_stay_in_the_content(content: Path, name: str) -> None:
    assert "no path within the content" in await refusal(content, Operation("DOWNLOAD", "http://h/f", name))
    assert "no path within the content" in await refusal(content, Operation("EXTRACT", name))


# --- archives


def tar(*members: tuple[tarfile.TarInfo, bytes], mode: str = "gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{mode}") as archive:  # type: ignore[call-overload]
        for info, body in members:
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name.replace("__", "/"), body)
    return buffer.getvalue()


def zipped_link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["", "gz", "bz2", "xz"])
def test_tar_archives_are_extracted(content: Path, mode: str) -> None:
    script = member("d/run.sh")
    script.mode = 0o755
    (content / "a").write_bytes(
        tar((member("d", tarfile.DIRTYPE), b""), (script, b"x"), (member("e"), DATA), mode=mode)
    )
    extracting.unpack(content / "a", content / "out", 10**6)
    assert (content / "out/d/run.sh").stat().st_mode & 0o777 == 0o755
    assert (content / "out/e").read_bytes() == DATA


async def test_a_download_is_extracted(content: Path) -> None:
    async with server(whole(zipped(d__a=b"1", b=b"2"))) as url:
        steps = [Operation("DOWNLOAD", f"{url}/data.zip"), Operation("EXTRACT", "data.zip", "data")]
        await fill(content, steps)
    assert (content / "data/d/a").read_bytes() == b"1"


TRICKS = {
    "up": (tar((member("../x"), b"x")), "does not lie below"),
    "absolute": (tar((member("/tmp/x"), b"x")), "does not lie below"),
    "link": (tar((member("l", tarfile.SYMTYPE, "/etc"), b""), (member("l/x"), b"x")), "is a link"),
    "hard": (tar((member("l", tarfile.LNKTYPE, "/etc/passwd"), b"")), "is a link"),
    "device": (tar((member("d", tarfile.CHRTYPE), b"")), "a device"),
    "pipe": (tar((member("d", tarfile.FIFOTYPE), b"")), "a device"),
    "twice": (tar((member("a"), b"1"), (member("a"), b"2")), "File exists"),
    "file as folder": (tar((member("a"), b"1"), (member("a/b"), b"2")), "File exists"),
    "deep": (tar((member("/".join("d" * 100)), b"")), "too deep"),
    "zip up": (zipped(**{"..__x": b"x"}), "does not lie below"),
    "zip link": (zipped_link(), "is a link"),
    "bomb": (tar((member("a"), bytes(5_000_000))), "more bytes than are left"),
    "zip bomb": (zipped(a=bytes(5_000_000)), "more bytes than are left"),
    "header bomb": (gzip.compress(member("x", tarfile.XHDTYPE).tobuf()[:124] + b"77777777777\0" + bytes(10**6)), ""),
    "cut off": (tar((member("a"), DATA))[:-5000], ""),
    "xz cut off": (lzma.compress(tar((member("a"), DATA), mode=""))[:5000], ""),
    "damaged": (tar((member("a"), DATA))[:1000] + b"\0" * 99_000, ""),
    "no archive": (b"hello", "no sound"),
    "nothing": (b"", ""),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_archives_with_tricks_are_refused(content: Path, trick: str) -> None:
    archive, expected = TRICKS[trick]
    (content / "a").write_bytes(archive)
    with pytest.raises((extracting.Refused, FileExistsError, NotADirectoryError, MemoryError)) as caught:
        extracting.unpack(content / "a", content / "out", 1_000_000)
    assert expected in str(caught.value)
    assert not (content.parent / "x").exists()
    assert not (content / "x").exists()


async def test_refusals_come_from_the_process_that_extracts(content: Path) -> None:
    (content / "bomb.tar.gz").write_bytes(TRICKS["bomb"][0])
    message = await refusal(content, Operation("EXTRACT", "bomb.tar.gz"), bounds=Bounds(size=1_000_000))
    assert message.startswith("bomb.tar.gz: it holds more bytes")
    assert "there is no" in await refusal(content, Operation("EXTRACT", "absent.tar"))
    huge = member("x", tarfile.XHDTYPE)
    huge.size = 3 * 2**30
    with gzip.open(content / "header.tar.gz", "wb", 1) as file:
        file.write(huge.tobuf())
        for _ in range(1100):
            file.write(bytes(2**20))
    assert "header.tar.gz" in await refusal(content, Operation("EXTRACT", "header.tar.gz"))
