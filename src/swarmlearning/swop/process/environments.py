"""Virtual environments in the place of images: made by pip from a recipe, once for equal recipes.

Each is based on the SWOP's own environment: what that has, among it this release's client, need not be downloaded, and
is not copied. It is complete when its name is kept (`outcomes.py`); what an interrupted build has left is made anew.

In an environment's folder lie `venv`, which packages may change as they like while they are installed, and beside it,
where they cannot write, what is noted about it.
"""

import asyncio
import hashlib
import json
import os
import signal
import site
import socket
import sys
import venv
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from swarmlearning import __version__
from swarmlearning.files import open_plain, replace_file
from swarmlearning.supervise import keeper
from swarmlearning.swop.managing import ManagerError
from swarmlearning.swop.process import switching
from swarmlearning.swop.process.entering import Account
from swarmlearning.swop.process.places import open_to_readers, remove, walk
from swarmlearning.swop.process.steps import Install, Recipe, requirement

BUILD_SECONDS: Final = 2 * 3600.0
LOG_BYTES: Final = 16 * 2**20
_FILE_BYTES: Final = 2**20
_COMPLETE: Final = "complete"
_VENV: Final = "venv"
_BASE: Final = "the_environment_of_the_swop.pth"


class Environment(NamedTuple):
    """A virtual environment, and the variables that its recipe sets."""

    folder: Path
    variables: Mapping[str, str]


OWN = Environment(Path(sys.prefix), {})
"""The SWOP's own."""


class Build(NamedTuple):
    """A recipe to carry out: the files that it copies from `context`; pip runs as `account`, None: as this process."""

    recipe: Recipe
    context: Path | None
    account: Account | None

    @property
    def name(self) -> str:
        """The name of the environment's folder: equal for equal results. Raises `ManagerError`."""
        try:
            files = [self._digest(self.copied(copy.target)) for copy in self.recipe.copies]
        except OSError as error:
            raise ManagerError("build", f"the build context: {error.filename}: {error.strerror}") from error
        based = [__version__, sys.version, sys.prefix]
        return hashlib.sha256(json.dumps([asdict(self.recipe), files, based]).encode()).hexdigest()[:32]

    def copied(self, target: str) -> Path:
        """The file or folder of the context that is at this path. Raises `ManagerError` where none is."""
        for copy in reversed(self.recipe.copies):
            with suppress(ValueError):
                below = PurePosixPath(target).relative_to(copy.target)
                if self.context is None:
                    raise ManagerError("build", f"COPY {copy.source}: the task names no BuildContext to copy from")
                path = (self.context / copy.source / below).resolve()
                if path.exists() and path.is_relative_to(self.context.resolve()):
                    return path
        raise ManagerError("build", f"{target}: no line before has copied a file to there from the build context")

    def _digest(self, path: Path) -> list[str]:
        """What is in a file, or in all files of a folder, as far as they are plain ones of the context."""
        assert self.context is not None
        context, found = self.context.resolve(), []
        for file in walk(path) if path.is_dir() else [path]:
            real = file.resolve()
            if real.is_file() and real.is_relative_to(context):
                found.append(f"{file.relative_to(path)} {_digest(real)}")
        return found


def environment_in(folder: Path, variables: Mapping[str, str]) -> Environment:
    """The environment that was made in this folder."""
    return Environment(folder / _VENV, variables)


async def make(build: Build, folder: Path, log: Path, variables: Mapping[str, str]) -> str:
    """Makes the environment in `folder`, unless it is there; returns the digest of all that it has brought in.

    pip goes by its settings in `variables`, and by the proxies that these name. Where this is cancelled, or this
    process is killed, pip ends. Raises `ManagerError`.
    """
    try:
        if not (folder / _COMPLETE).exists():
            await asyncio.to_thread(_create, folder, log, build)
            for number, install in enumerate(build.recipe.installs, 1):
                await _install(build, install, folder, number, log, variables)
            await _compile(build, folder, log)
            await asyncio.to_thread(_finish, folder)
        return (folder / _COMPLETE).read_text()
    except OSError as error:
        raise ManagerError("site", f"{error.filename or folder}: {error.strerror or error}") from error


def _create(folder: Path, log: Path, build: Build) -> None:
    remove(folder)
    log.write_text("".join(f"{note}\n" for note in build.recipe.notes))
    made = folder / _VENV
    venv.EnvBuilder(symlinks=True).create(made)
    folder.chmod(0o755)
    lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages() if Path(path).is_dir()]
    (_packages(made) / _BASE).write_text("\n".join(lines) + "\n")
    _give(made, build.account)


async def _compile(build: Build, folder: Path, log: Path) -> None:
    """Compiles what was installed, to the same bytes each time; what cannot be compiled is left as it is."""
    compiler = [sys.executable, "-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "checked-hash"]
    if build.recipe.installs:
        await _logged([*compiler, str(_packages(folder / _VENV))], folder, build.account, log, {})


def _finish(folder: Path) -> None:
    """Notes that it is complete. From now on it is this process's, whoever has made it: scripts only use it.

    Nothing that has made it runs any more, so nothing changes while it is looked at.
    """
    if os.geteuid() == 0:
        _give(folder / _VENV, Account(0, os.getegid(), ()))
    brought_in = _brought_in(folder / _VENV)
    open_to_readers(folder)
    replace_file(folder / _COMPLETE, f"sha256:{brought_in}".encode())


def _brought_in(folder: Path) -> str:
    """The digest of all that is in a folder. pip's own records are not relied on: they state what a package claims.

    Raises `ManagerError` for what is neither a file, a folder nor a link, and `OSError`.
    """
    digest = hashlib.sha256()
    for one in walk(folder):
        if one.is_symlink():
            content = f"-> {one.readlink()}"
        elif one.is_dir():
            content = "folder"
        elif one.is_file():
            content = _digest(one)
        else:
            raise ManagerError("build", f"{one}: packages may bring in files, folders and links alone")
        digest.update(json.dumps([str(one.relative_to(folder)), content]).encode())
    return digest.hexdigest()


async def _install(
    build: Build, install: Install, folder: Path, number: int, log: Path, variables: Mapping[str, str]
) -> None:
    """One call of pip. Raises `ManagerError`."""
    wheels = [str(build.copied(path)) for path in install.wheels]
    lines = [*install.requirements, *wheels]
    lines += [line for kind, path in install.files if kind == "-r" for line in _listed(build.copied(path))]
    constraints = [line for kind, path in install.files if kind == "-c" for line in _listed(build.copied(path))]
    if not lines:
        return
    if find_spec("pip") is None:
        raise ManagerError("site", f"there is no pip beside this SWOP: {sys.executable} -m ensurepip installs it")
    arguments = [*install.options]
    for option, content in (("-r", lines), ("-c", constraints)):
        if content:
            file = folder / f"pip-{number}{option}.txt"
            file.write_text("\n".join(content) + "\n")
            file.chmod(0o644)
            arguments += [option, str(file)]
    python = folder / _VENV / "bin" / "python"
    pip = [sys.executable, "-P", "-m", "pip", "--python", str(python), "--no-input", "--disable-pip-version-check"]
    status = await _logged(
        *([*pip, "install", *arguments], folder, build.account, log),
        _pip_environment(folder / _VENV, build.account, variables),
    )
    if status:
        raise ManagerError("build", f"pip has failed with exit code {status}: see {log}")


async def _logged(
    command: list[str], folder: Path, account: Account | None, log: Path, environment: Mapping[str, str]
) -> int:
    """Runs the command with its output in the log; its exit code. All that it starts ends with it, and it with this
    process: the keeper, which sees to that, runs as this process's user, so the command cannot end it."""
    if account is not None:
        user = [str(account.uid), str(account.gid)]
        command = [sys.executable, "-I", "-S", switching.__file__, *user, *command]
    here, there = socket.socketpair()
    with here, log.open("ab", buffering=0) as file:
        with there:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", keeper.__file__, str(there.fileno()), *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                cwd=folder,
                pass_fds=[there.fileno()],
                start_new_session=True,
            )
        assert process.stdout is not None
        left = LOG_BYTES
        try:
            async with asyncio.timeout(BUILD_SECONDS):
                while data := await process.stdout.read(65536):
                    file.write(data[: max(left, 0)])
                    left -= len(data)
                return await process.wait()
        except TimeoutError:
            raise ManagerError("build", f"pip was not done after {BUILD_SECONDS:.0f} s: see {log}") from None
        finally:
            here.close()  # the keeper ends all that is left
            with suppress(ProcessLookupError):
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
            await process.wait()


def _pip_environment(folder: Path, account: Account | None, variables: Mapping[str, str]) -> dict[str, str]:
    """What pip needs of these variables: its own settings, and the way to the network."""
    found = {name: value for name, value in variables.items() if name.startswith("PIP_") or _is_proxy(name)}
    found["PIP_NO_COMPILE"] = "1"  # its bytecode has the time in it
    if account is not None:
        found |= {"HOME": str(folder), "PIP_NO_CACHE_DIR": "1"}
    else:
        found["HOME"] = variables.get("HOME", str(folder))
    return found | {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}


def _is_proxy(name: str) -> bool:
    return name.lower().endswith("_proxy")


def _listed(path: Path) -> list[str]:
    """The requirements in a file. Raises `ManagerError` for a line that is none."""
    with open_plain(path) as file:
        content = file.read(_FILE_BYTES + 1)
    if len(content) > _FILE_BYTES:
        raise ManagerError("build", f"{path.name}: larger than any file of requirements")
    found = []
    for number, line in enumerate(content.decode(errors="replace").replace("\\\n", " ").splitlines(), 1):
        bare = line.split(" #", 1)[0].strip()
        if bare and not bare.startswith("#"):
            try:
                found += [kept] if (kept := requirement(bare)) else []
            except ValueError as error:
                raise ManagerError("unsupported", f"{path.name}, line {number}: {error}") from error
    return found


def _packages(folder: Path) -> Path:
    return folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def _give(folder: Path, account: Account | None) -> None:
    """Makes all of it that user's."""
    if account is None:
        return
    for one in (folder, *walk(folder)):
        os.chown(one, account.uid, account.gid, follow_symlinks=False)


def _digest(path: Path) -> str:
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
