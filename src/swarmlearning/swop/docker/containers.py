"""One pair's two containers: made and started once, found again, waited for, and removed."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from swarmlearning.backoff import Backoff
from swarmlearning.swop.docker.engine import Engine, EngineError
from swarmlearning.swop.docker.names import PART, PairName, Part, has_labels, label_filter
from swarmlearning.swop.managing import ManagerError, PairState

KILLED: Final = 137
"""The exit code of a container that somebody has killed, or removed."""
GRACE_SECONDS: Final = 10
"""Seconds between SIGTERM and SIGKILL."""
PARTS: Final[tuple[Part, ...]] = ("sl", "ml")
_RETRY_SECONDS: Final = 60.0
"""Seconds for which an engine may be away while a pair runs, such as during its upgrade."""


class Found(NamedTuple):
    """A container of a pair: its ID, whether it was started, and its exit code, None while it runs.

    `limited`: it has ended for want of the memory that it may have.
    """

    id: str
    started: bool
    code: int | None
    limited: bool = False


async def labelled(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """All containers with these labels, as the engine lists them. Raises `EngineError`."""
    listed = await engine.get("containers", "json", all=True, filters=label_filter(labels))
    return [each for each in listed if has_labels(each, labels)]


_GONE: Final = Found("", True, KILLED)


def pair_state(found: Mapping[Part, Found]) -> PairState:
    """The state of a pair that was started; a container that is gone counts as killed."""
    sl, ml = (found.get(part, _GONE) for part in PARTS)
    return PairState(sl.code, ml.code, ml.limited)


async def find(engine: Engine, name: PairName) -> dict[Part, Found]:
    """The pair's containers. Raises `EngineError`."""
    listed = await labelled(engine, name.labels())
    found: dict[Part, Found] = {}
    for part in PARTS:
        for each in listed:
            if each["Labels"].get(PART) == part and (state := await _state(engine, each["Id"])) is not None:
                found[part] = state
    return found


async def find_patiently(engine: Engine, name: PairName) -> dict[Part, Found]:
    """As `find`, but waits for an engine that is away for a while. Raises `EngineError` where it stays away."""
    loop = asyncio.get_running_loop()
    patience = loop.time() + _RETRY_SECONDS
    async for _ in Backoff(0.5, 5.0):
        try:
            return await find(engine, name)
        except EngineError:
            if loop.time() > patience:
                raise
    raise AssertionError("unreachable")


async def _state(engine: Engine, container: str) -> Found | None:
    try:
        found = await engine.get("containers", container, "json")
    except EngineError as error:
        if error.is_missing:
            return None
        raise
    state = found["State"]
    started = state["Status"] not in ("created", "configured", "initialized")
    running = state["Running"] or state["Status"] in ("stopping", "removing", "paused")
    if running or not started:
        return Found(container, started, None)
    code = int(state["ExitCode"])
    killed_within_limit = code == KILLED and found["HostConfig"].get("Memory", 0) > 0  # Podman does not always say so
    return Found(container, started, code, bool(state.get("OOMKilled")) or killed_within_limit)


async def create(engine: Engine, name: str, spec: Mapping[str, Any]) -> str:
    """Makes a container; returns its ID. Raises `ManagerError` where the engine gives less than was asked for."""
    made = await engine.post("containers", "create", body=spec, name=name)
    wanted = spec["HostConfig"].get("DeviceRequests")
    host = (await engine.get("containers", made["Id"], "json"))["HostConfig"]
    if wanted and not host.get("DeviceRequests"):
        await engine.delete("containers", made["Id"], force=True)
        raise ManagerError(
            "unsupported",
            "the profile asks for gpus, and this container engine ignores that, as Podman does: the training would use "
            "the CPU. Use Docker with NVIDIA's container toolkit, or give the devices by name (device)",
        )
    return str(made["Id"])


async def start(engine: Engine, container: str) -> None:
    """Starts a container; one that runs is left as it is. Raises `ManagerError` where its command cannot run."""
    try:
        await engine.post("containers", container, "start")
    except EngineError as error:
        if error.status == 0:
            raise
        raise ManagerError("no-start", str(error)) from error


async def stop(engine: Engine, container: str) -> None:
    """Ends a container, by SIGKILL where SIGTERM does not. Raises `EngineError`."""
    try:
        await engine.post("containers", container, "stop", t=GRACE_SECONDS)
    except EngineError as error:
        if not error.is_missing:
            raise


async def remove(engine: Engine, container: str) -> None:
    """Removes a container, whatever it does. Raises `EngineError`."""
    await engine.delete("containers", container, force=True)


async def send_signal(engine: Engine, container: str, number: int) -> bool:
    """Sends a signal to a container's first process, which gets those alone that it handles; False where it has ended.

    Raises `EngineError`.
    """
    try:
        await engine.post("containers", container, "kill", signal=str(number))
    except EngineError as error:
        if not error.status:
            raise
        return False
    return True
