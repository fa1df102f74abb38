"""Downloads one file: over HTTP, through the proxies that the environment names, or from a folder of the site.

The server is not trusted: bytes and time are bounded, one that only drips is given up, redirects lead to HTTP only, and
nothing is decompressed. A download that breaks off is resumed. The file appears under its name when it is complete.
"""

import asyncio
import hashlib
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import SplitResult, unquote, urlsplit

import aiohttp

from swarmlearning.backoff import Backoff
from swarmlearning.files import open_plain
from swarmlearning.proxies import proxy_url
from swarmlearning.swop.managing import ManagerError

CHUNK: Final = 1024 * 1024
ATTEMPTS: Final = 5
"""Attempts that bring little, in succession, before a download has failed."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two of them."""
REDIRECTS: Final = 5
WINDOW_SECONDS: Final = 60.0
WINDOW_BYTES: Final = 64 * 1024
"""A server has to send so many bytes in each window of so many seconds."""


async def download(
    url: str, target: Path, roots: Collection[Path], size: int, seconds: float, variables: Mapping[str, str]
) -> str:
    """Writes the file to `target` (its folders are made); returns its digest, `sha256:` and 64 hexadecimal digits.

    At most `size` bytes within `seconds`, through the proxy that the variables name. Raises `ManagerError`.
    """
    part = target.with_name(f".{target.name[:200]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w+b") as file:
            async with asyncio.timeout(seconds):
                await _fetch(url, file, roots, size, variables)
            file.flush()
            os.fsync(file.fileno())
            digest = await asyncio.to_thread(_digest, part)
        part.replace(target)
    except TimeoutError:
        raise ManagerError("download", f"{url}: not complete after {seconds:.0f} s") from None
    except OSError as error:
        raise ManagerError("site", f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return digest


def url_parts(url: str) -> SplitResult:
    """The parts of a URL. Raises `ManagerError` for what is none."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ManagerError("download", f"{url}: no valid URL ({error})") from error


async def _fetch(url: str, file: BinaryIO, roots: Collection[Path], size: int, variables: Mapping[str, str]) -> None:
    parts = url_parts(url)
    scheme = parts.scheme.lower()
    if scheme == "file":
        await asyncio.to_thread(_copy, url, file, roots, size)
    elif scheme in ("http", "https"):
        await _fetch_http(url, file, size, proxy_url(scheme, parts.hostname or "", variables))
    else:
        raise ManagerError("unsupported", f"{url}: only http, https and file URLs are downloaded")


async def _fetch_http(url: str, file: BinaryIO, size: int, proxy: str | None) -> None:
    failed, tag = 0, ""
    timeout = aiohttp.ClientTimeout(total=None, connect=30.0, sock_read=WINDOW_SECONDS)
    async with aiohttp.ClientSession(
        proxy=proxy, timeout=timeout, auto_decompress=False, headers={"Accept-Encoding": "identity"}
    ) as session:
        async for _ in Backoff(FIRST_PAUSE, LONGEST_PAUSE):
            before = file.tell()
            try:
                await _attempt(session, url, file, size, tag)
                return
            except _Resumable as broken:
                tag = broken.tag
                failed = 0 if file.tell() >= before + WINDOW_BYTES else failed + 1
                if failed == ATTEMPTS:
                    raise ManagerError("download", f"{url}: {broken}") from broken


class _Resumable(Exception):
    """An attempt broke off; `tag` names what the bytes so far are a part of, empty where the server says nothing."""

    def __init__(self, message: str, tag: str) -> None:
        super().__init__(message)
        self.tag = tag


async def _attempt(session: aiohttp.ClientSession, url: str, file: BinaryIO, size: int, tag: str) -> None:
    """Downloads the rest, or all of it where the server cannot resume. Raises `_Resumable` and `ManagerError`."""
    if not tag:
        file.seek(0)
    headers = {"Range": f"bytes={file.tell()}-", "If-Range": tag} if file.tell() else {}
    try:
        async with (
            asyncio.timeout(WINDOW_SECONDS) as beginning,  # interim answers without end are none
            session.get(url, headers=headers, max_redirects=REDIRECTS) as answer,
        ):
            beginning.reschedule(None)
            if answer.status >= 500:
                raise _Resumable(f"the server answers {answer.status}", tag)
            if answer.status not in (200, 206):
                raise ManagerError("download", f"{url}: the server answers {answer.status} {answer.reason}")
            if answer.status == 200 or not _continues(answer, file.tell()):
                file.seek(0)
            file.truncate()
            tag = answer.headers.get("ETag", "")
            tag = "" if tag.startswith("W/") else tag
            await _receive(answer, url, file, size)
    except (aiohttp.TooManyRedirects, aiohttp.NonHttpUrlClientError) as error:
        raise ManagerError("download", f"{url}: the server redirects where nothing is downloaded from") from error
    except ValueError as error:  # `InvalidURL` is one, and so is what a host raises that is no name of one
        raise ManagerError("download", f"{url}: no valid URL ({error})") from error
    except aiohttp.ClientError as error:
        raise _Resumable(str(error) or type(error).__name__, tag) from error
    except TimeoutError as error:
        raise ManagerError("download", f"{url}: no answer has begun within {WINDOW_SECONDS:.0f} s") from error


def _continues(answer: aiohttp.ClientResponse, offset: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


async def _receive(answer: aiohttp.ClientResponse, url: str, file: BinaryIO, size: int) -> None:
    loop = asyncio.get_running_loop()
    while True:
        ends, received = loop.time() + WINDOW_SECONDS, 0
        try:
            async with asyncio.timeout_at(ends):
                while received < WINDOW_BYTES:
                    chunk = await answer.content.read(CHUNK)
                    if not chunk:
                        return
                    received += len(chunk)
                    if file.tell() + len(chunk) > size:
                        raise ManagerError("download", f"{url}: larger than the {size} bytes that are left for it")
                    await asyncio.to_thread(file.write, chunk)
        except TimeoutError:
            raise ManagerError(
                "download", f"{url}: the server sent {received} bytes in {WINDOW_SECONDS:.0f} s, which is too slow"
            ) from None


def _copy(url: str, file: BinaryIO, roots: Collection[Path], size: int) -> None:
    parts = url_parts(url)
    if parts.netloc not in ("", "localhost"):
        raise ManagerError("download", f"{url}: a file URL names a file of this host: file:///path")
    if "\0" in (path := unquote(parts.path)):
        raise ManagerError("download", f"{url}: a path has no NUL character")
    source = Path(path).resolve()
    if not any(source.is_relative_to(root.resolve()) for root in roots):
        raise ManagerError("download", f"{url}: {source} is below none of the folders that the site policy allows")
    try:
        opened = open_plain(source)
    except OSError as error:
        raise ManagerError("download", f"{url}: {error.strerror}") from error
    with opened:
        while chunk := opened.read(CHUNK):
            if file.tell() + len(chunk) > size:
                raise ManagerError("download", f"{url}: larger than the {size} bytes that are left for it")
            file.write(chunk)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
