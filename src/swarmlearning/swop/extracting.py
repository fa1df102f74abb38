"""Extracts a tar or zip archive of another organisation, in a process of its own with bounds on its memory and time.

Plain files and folders alone come out, each below the folder, none in the place of another: an archive with links,
devices, absolute paths or `..` is refused. The process is this module run as a script, with the standard library only.
"""

import lzma
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final, NamedTuple

MEMORY: Final = 1024 * 2**20
"""Bytes of address space: more than any decompressor needs, less than a bomb would take."""
MEMBERS: Final = 1_000_000
DEPTH: Final = 64
CHUNK: Final = 256 * 1024
LONGEST_NAME: Final = 1024
REFUSED: Final = 3
"""Exit status where the archive is to blame; its standard error says why."""

DAMAGES: Final = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What the modules for archives raise for damaged ones."""


class Refused(Exception):
    """The archive is damaged, too large, or contains what is not extracted."""


class Member(NamedTuple):
    """A file or a folder of an archive; `content` is None for a folder."""

    name: str
    executable: bool
    content: IO[bytes] | None


async def extract(archive: Path, folder: Path, size: int, seconds: float) -> None:
    """Extracts into `folder`, which is made where it is missing: at most `size` bytes. Raises `ManagerError`."""
    import asyncio
    from contextlib import suppress

    from swarmlearning.orphans import dying_with_this_process
    from swarmlearning.swop.managing import ManagerError

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", __file__, archive, folder, str(size)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=dying_with_this_process(),
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
    )
    try:
        async with asyncio.timeout(seconds):
            _, said = await process.communicate()
    except TimeoutError:
        raise ManagerError("download", f"{archive.name}: not extracted after {seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        reason = said.decode(errors="replace").strip()[-500:] or f"extracting ended with status {process.returncode}"
        raise ManagerError("download" if process.returncode == REFUSED else "site", f"{archive.name}: {reason}")


# --- in the process of its own


def main(archive: str, folder: str, size: int) -> None:
    """Extracts, and exits with `REFUSED` and one line where the archive is to blame."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.umask(0o022)
    try:
        unpack(Path(archive), Path(folder), size)
    except (Refused, MemoryError) as error:
        sys.exit(_complain(str(error) or "it needs more memory than any sound archive"))
    except FileNotFoundError as error:
        sys.exit(_complain(f"there is no {error.filename} in the content"))
    except FileExistsError as error:
        sys.exit(_complain(f"{error.filename} is there already, or comes twice"))
    except NotADirectoryError as error:
        sys.exit(_complain(f"{error.filename} lies below a plain file"))


def _complain(reason: str) -> int:
    print(reason.replace("\n", " "), file=sys.stderr)
    return REFUSED


def unpack(archive: Path, folder: Path, size: int) -> None:
    """Extracts the archive, whichever kind it is. Raises `Refused` and `OSError`."""
    with archive.open("rb") as file:
        is_zip = zipfile.is_zipfile(file)
    folder.mkdir(parents=True, exist_ok=True)
    left, count = size, 0
    try:
        for member in _zip_members(archive) if is_zip else _tar_members(archive):
            count += 1
            if count > MEMBERS:
                raise Refused(f"more than {MEMBERS} files and folders")
            left -= _place(folder, member, left)
    except DAMAGES as error:
        raise Refused(f"no sound tar or zip archive ({error})") from error
    except OSError as error:
        if error.errno is None:  # from a decompressor, not from the file system
            raise Refused(f"no sound tar or zip archive ({error})") from error
        raise


def _place(folder: Path, member: Member, left: int) -> int:
    """Makes the file or folder; returns its bytes. Raises `Refused` once it has more than `left`."""
    path = folder / _checked(member.name)
    if member.content is None:
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := member.content.read(CHUNK):
            written += len(chunk)
            if written > left:
                raise Refused("it holds more bytes than are left for the content of this task")
            file.write(chunk)
    if member.executable:
        path.chmod(0o755)
    return written


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise Refused(f"{name!r} does not lie below the archive's own folder")
    if len(name) > LONGEST_NAME or len(path.parts) > DEPTH:
        raise Refused(f"the name {name[:80]!r}… is too long or too deep")
    return path


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive, "r:*") as tar:
        while member := tar.next():
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all in memory
            if member.isdir():
                yield Member(member.name, True, None)
            elif member.isreg() and not member.issparse():
                yield Member(member.name, bool(member.mode & 0o100), tar.extractfile(member))
            else:
                raise Refused(f"{member.name!r} is a link, a device or the like: only files and folders are extracted")


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                yield Member(info.filename, True, None)
            elif mode & 0o170000 in (0, 0o100000):
                with opened.open(info) as content:
                    yield Member(info.filename, bool(mode & 0o100), content)
            else:
                raise Refused(
                    f"{info.filename!r} is a link, a device or the like: only files and folders are extracted"
                )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
