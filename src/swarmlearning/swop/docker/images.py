"""Images: pulled with the login that a task names, built from its steps, and found again by name."""

import asyncio
import base64
import json
import logging
import os
import secrets
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from swarmlearning.swop.docker.engine import Engine, EngineError
from swarmlearning.swop.docker.names import OUTCOME
from swarmlearning.swop.docker.settings import User
from swarmlearning.swop.docker.volumes import END, entry, opened, padding, read
from swarmlearning.swop.managing import ManagerError
from swarmlearning.taskfiles.definition import Credentials, MakeUserContainer, PullImage
from swarmlearning.taskfiles.images import full_name

logger = logging.getLogger("swarm.swop")

SECONDS: Final = 6 * 3600.0
"""Seconds that a pull or a build may take."""
_LONGEST_SHOWN: Final = 500
_LARGEST_LOGIN: Final = 2**20
_ROOT: Final = User(0, 0)


async def image_id(engine: Engine, name: str) -> str | None:
    """The digest by which the engine knows an image; None where it has none of this name. Raises `EngineError`."""
    try:
        found: dict[str, Any] = await engine.get("images", name, "json")
    except EngineError as error:
        if error.is_missing:
            return None
        raise
    return str(found["Id"])


async def pull(engine: Engine, outcome: str, what: PullImage) -> str:
    """Pulls an image, and names it `outcome` too; returns its digest. Raises `ManagerError` and `EngineError`."""
    name = full_name(what)
    headers = _login_header(what)
    repository, tagged = _split(name)
    await _report("pull", engine.work("images", "create", headers=headers, fromImage=repository, tag=tagged))
    found = await image_id(engine, name)
    if found is None:
        raise ManagerError("pull", f"{name}: the engine has pulled it and does not have it")
    await tag(engine, name, outcome)
    return found


async def tag(engine: Engine, name: str, outcome: str) -> None:
    """Gives an image the name `outcome`, unless it has it."""
    repository, tagged = _split(outcome)
    if (repository, tagged) != _split(name):
        await engine.post("images", name, "tag", repo=repository, tag=tagged)


async def build(
    engine: Engine,
    outcome: str,
    what: MakeUserContainer,
    image: str,
    proxies: Mapping[str, str],
    labels: Mapping[str, str],
) -> str:
    """Builds the image `outcome` from a task's steps, and from the content of a volume, which a container of `image`
    reads; returns its digest. Raises `ManagerError` and `EngineError`."""
    file = f".dockerfile-{secrets.token_hex(8)}"  # nothing in the volume can stand for it
    async with AsyncExitStack() as stack:
        context: AsyncIterator[bytes] | None = None
        if what.build_context:
            container = await stack.enter_async_context(opened(engine, what.build_context, image, labels))
            content = await stack.enter_async_context(read(engine, container))
            context = content.iter_any()
        archive = _context(file, "\n".join((*what.build_steps, "")).encode(), context)
        arguments = {"buildargs": dict(proxies), "labels": {OUTCOME: outcome}}
        work = engine.work("build", archive=archive, t=outcome, dockerfile=file, rm=True, forcerm=True, **arguments)
        await _report("build", work)
    found = await image_id(engine, outcome)
    if found is None:
        raise ManagerError("build", f"{outcome}: the build has ended without an image")
    return found


async def _context(name: str, steps: bytes, context: AsyncIterator[bytes] | None) -> AsyncIterator[bytes]:
    """A build's context: the steps as a file of this name, and before the end what is in another archive."""
    yield entry(name, _ROOT, 0o644, tarfile.REGTYPE, len(steps)) + steps + padding(len(steps))
    if context is None:
        yield END
        return
    async for piece in context:
        yield piece


async def _report(reason: Literal["pull", "build"], reports: AsyncIterator[dict[str, Any]]) -> None:
    """Logs what the engine reports until the work is done. Raises `ManagerError` where it fails or takes too long."""
    try:
        async with asyncio.timeout(SECONDS):
            async for report in reports:
                if error := report.get("error"):
                    raise ManagerError(reason, _shown(str(error)))
                if text := _shown(str(report.get("stream") or "")):
                    logger.info("%s: %s", reason, text)
    except TimeoutError:
        raise ManagerError(reason, f"not complete after {SECONDS:.0f} s") from None
    except EngineError as error:
        raise ManagerError(reason if error.status else "site", _shown(str(error))) from error


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text.strip())[:_LONGEST_SHOWN]


def _split(name: str) -> tuple[str, str]:
    """Repository and tag of an image's name."""
    head, slash, last = name.rpartition("/")
    last, _, tagged = last.partition(":")
    return f"{head}{slash}{last}", tagged or "latest"


# --- logins


def _login_header(what: PullImage) -> dict[str, str]:
    if what.auth is None:
        return {}
    login = what.auth if isinstance(what.auth, Credentials) else _login_in(Path(what.auth), what.registry)
    text = json.dumps({"username": login.username, "password": login.password, "serveraddress": _host(what.registry)})
    return {"X-Registry-Auth": base64.urlsafe_b64encode(text.encode()).decode()}


class _Entry(msgspec.Struct):
    auth: str = ""


class _Logins(msgspec.Struct):
    auths: dict[str, _Entry] = {}


def _login_in(path: Path, registry: str) -> Credentials:
    """The login for a registry in a Docker `config.json`. Programs that keep logins are not asked: a task would choose
    which program runs here. Raises `ManagerError`, which shows nothing of the file."""
    try:
        known = msgspec.json.decode(_content(path), type=_Logins).auths
    except OSError as error:
        raise ManagerError("pull", f"Auth: {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ManagerError("pull", f"Auth: {path} is no config.json of Docker's") from None
    for name, found in known.items():
        if _host(name) == _host(registry) and found.auth:
            return _decoded(found.auth, path)
    raise ManagerError("pull", f"Auth: {path} has no login for {_host(registry)}; docker login writes one")


def _content(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(_LARGEST_LOGIN) or b""


def _decoded(auth: str, path: Path) -> Credentials:
    try:
        username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise ManagerError("pull", f"Auth: {path} has a login that is damaged")
    return Credentials(username, password)


def _host(registry: str) -> str:
    """The host in a registry's name, with which `config.json` names it; that of Docker Hub where there is none."""
    name = registry.partition("://")[2] or registry
    host = name.partition("/")[0]
    if not ("." in host or ":" in host or host == "localhost") or host in ("index.docker.io", "registry-1.docker.io"):
        return "docker.io"
    return host.lower()
