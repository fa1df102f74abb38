"""Fulfils `ResourceManager` with containers: what it has started it finds again by labels, after a SIGKILL too."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from swarmlearning.ledger.bodies import Reason
from swarmlearning.swop.docker import containers, images, volumes
from swarmlearning.swop.docker.contents import Contents
from swarmlearning.swop.docker.engine import Engine, EngineError
from swarmlearning.swop.docker.logs import LogCopies
from swarmlearning.swop.docker.mounts import SL_FOLDER
from swarmlearning.swop.docker.names import ATTEMPT, PART, SWOP, PairName, Part
from swarmlearning.swop.docker.settings import DockerSettings, User
from swarmlearning.swop.docker.specs import GROUP, Site, ml_spec, sl_spec
from swarmlearning.swop.managing import Attempt, ManagerError, Pair, PairLogs, PairState
from swarmlearning.swop.process.stacks import STACKS_SIGNAL
from swarmlearning.swop.profile import Profile
from swarmlearning.taskfiles.definition import MakeSwarmUserContent, MakeUserContainer, PullImage

KEPT_LOGS: Final = 20
"""Attempts whose logs stay."""
_LOOK_SECONDS: Final = 1.0
"""Seconds between two looks at a pair that runs. Docker's `wait` would tell at once, but Podman 4 answers it by looking
without a pause itself: with three pairs that was most of a processor for as long as they trained."""


class DockerManager:
    """The containers, images and volumes of one SWOP."""

    def __init__(self, profile: Profile, settings: DockerSettings) -> None:
        self._profile = profile
        self._settings = settings
        self._engine = Engine(settings.address)
        self._logs = LogCopies(self._engine)
        self._contents = Contents(self._engine, settings, [node.index for node in profile.nodes])
        self._known_site: Site | None = None

    @property
    def own_images(self) -> Collection[str]:
        """The images that the site's nodes run in."""
        return (self._settings.sl_image,)

    async def close(self) -> None:
        """Ends the copying of logs, and closes the connections; containers go on."""
        await self._logs.close()
        await self._engine.close()

    async def check(self) -> Sequence[str]:
        """See `ResourceManager`: the engine answers, and has the network and the SL's image."""
        image = self._settings.sl_image
        async with _refusals():
            if not (await self._site()).on_host:
                await self._require_network(self._profile.network)
            if await images.image_id(self._engine, image) is None:
                raise ManagerError("site", f"the SL's image {image} is not here: docker pull {image}")
        if self._settings.sl_user == self._settings.user:
            return ["SL and user containers run as the same user: SWOP_SL_USER names another one for the SLs"]
        return []

    # --- outcomes ---------------------------------------------------------------------------------------------------

    async def make(
        self, attempt: Attempt, outcome: str, what: MakeUserContainer | PullImage | MakeSwarmUserContent
    ) -> Collection[str]:
        """See `ResourceManager`."""
        settings = self._settings
        labels = {SWOP: settings.swop, ATTEMPT: attempt.key}
        async with _refusals():
            match what:
                case PullImage():
                    return [await images.pull(self._engine, outcome, what)]
                case MakeUserContainer():
                    return [await images.build(self._engine, outcome, what, settings.sl_image, self._proxies(), labels)]
                case MakeSwarmUserContent():
                    return await self._contents.make(outcome, what, labels, attempt.key)

    async def brought_in(self, outcome: str) -> Collection[str]:
        """See `ResourceManager`."""
        async with _refusals():
            if digests := await self._contents.brought_in(outcome):
                return digests
            found = await images.image_id(self._engine, outcome)
            return [] if found is None else [found]

    def _proxies(self) -> Mapping[str, str]:
        named = {name: value for name, value in self._profile.environment.items() if name.lower().endswith("_proxy")}
        return {**self._settings.proxies, **named}

    # --- pairs ------------------------------------------------------------------------------------------------------

    async def start(self, attempt: Attempt, pair: Pair) -> None:
        """See `ResourceManager`."""
        name = self._name(attempt, pair.node.index)
        async with _refusals("no-start"):
            site = await self._site()
            found = await containers.find(self._engine, name)
            await volumes.make_volume(self._engine, name.volume, name.labels())
            specs = {"sl": sl_spec(site, name, pair), "ml": ml_spec(site, name, pair)}
            for part in containers.PARTS:
                if part not in found:
                    await self._create(name.container(part), specs[part])
            found = await containers.find(self._engine, name)
            if not found["sl"].started:
                await self._prepare(found["sl"].id)
            await asyncio.to_thread(_prune, self._folder(""), attempt.key)
            for part in containers.PARTS:
                if not found[part].started:
                    await containers.start(self._engine, found[part].id)
                self._follow(attempt, pair.node.index, part, found[part].id)

    async def state(self, attempt: Attempt, index: int) -> PairState | None:
        """See `ResourceManager`."""
        async with _refusals():
            found = await containers.find(self._engine, self._name(attempt, index))
        if not all(part in found and found[part].started for part in containers.PARTS):
            return None
        for part, each in found.items():
            self._follow(attempt, index, part, each.id)
        return containers.pair_state(found)

    async def changed(self, attempt: Attempt, index: int, known: PairState) -> PairState:
        """See `ResourceManager`."""
        name = self._name(attempt, index)
        async with _refusals():
            while True:
                found = await containers.find_patiently(self._engine, name)
                state = containers.pair_state(found)
                if state != known or all(each.code is not None for each in found.values()):
                    return state
                await asyncio.sleep(_LOOK_SECONDS)

    async def stop(self, attempt: Attempt, index: int) -> None:
        """See `ResourceManager`."""
        async with _refusals():
            await self._end(self._name(attempt, index).labels())

    async def clean(self, key: str) -> None:
        """See `ResourceManager`."""
        async with _refusals():
            await self._end({SWOP: self._settings.swop, ATTEMPT: key})

    async def show_stacks(self, attempt: Attempt, index: int) -> bool:
        """See `ResourceManager`: the container's first process is asked for them."""
        async with _refusals():
            found = await containers.find(self._engine, self._name(attempt, index))
            if "ml" not in found or not found["ml"].started or found["ml"].code is not None:
                return False
            return await containers.send_signal(self._engine, found["ml"].id, STACKS_SIGNAL)

    async def attempts(self) -> Collection[str]:
        """See `ResourceManager`; stopped containers that are kept do not count."""
        mine = {SWOP: self._settings.swop}
        async with _refusals():
            listed = await containers.labelled(self._engine, mine)
            found = await volumes.labelled(self._engine, mine)
        left = [each["Labels"] for each in listed if not self._stays(each)]
        if not self._settings.keep:
            left += [each["Labels"] for each in found]
        return {labels[ATTEMPT] for labels in left if ATTEMPT in labels}

    def logs(self, attempt: Attempt, index: int) -> PairLogs:
        """See `ResourceManager`."""
        folder = self._folder(attempt.key) / str(index)
        return PairLogs(folder / "sl.log", folder / "ml.log")

    # --- parts of these ---------------------------------------------------------------------------------------------

    async def _site(self) -> Site:
        if self._known_site is None:
            settings = self._settings
            offered = (await self._engine.get("info")).get("SecurityOptions") or []
            selinux = any("selinux" in option for option in offered)
            self._known_site = Site(self._profile, settings.sl_image, settings.user, settings.sl_user, selinux)
        return self._known_site

    async def _require_network(self, network: str) -> None:
        try:
            await self._engine.get("networks", network)
        except EngineError as error:
            if not error.is_missing:
                raise
            raise ManagerError(
                "site", f"network: the container engine has no network {network}: docker network create {network}"
            ) from error

    async def _create(self, name: str, spec: Mapping[str, Any]) -> None:
        image = spec["Image"]
        if await images.image_id(self._engine, image) is None:
            raise ManagerError("no-start", f"there is no image {image} here: the task's prerequisite has to make it")
        await containers.create(self._engine, name, spec)

    async def _prepare(self, sl: str) -> None:
        """Gives the shared folder and the SL's data directory their owners, before anything runs."""
        user = self._settings.sl_user
        folders = {".": (User(user.uid, GROUP), 0o3770), "sl": (user, 0o700)}
        await volumes.set_folders(self._engine, sl, SL_FOLDER, folders)

    async def _end(self, labels: Mapping[str, str]) -> None:
        """Ends the containers with these labels, user containers first; removes them and their volumes, unless kept."""
        listed = await containers.labelled(self._engine, labels)
        for each in sorted(listed, key=lambda each: each["Labels"].get(PART, "")):
            if each["State"] != "created":
                await containers.stop(self._engine, each["Id"])
                await self._logs.finish(each["Id"])
            if not (self._settings.keep and each["Labels"].get(PART)):
                await containers.remove(self._engine, each["Id"])
        if not self._settings.keep:
            for each in await volumes.labelled(self._engine, labels):
                await self._engine.delete("volumes", each["Name"])

    def _stays(self, listed: Mapping[str, Any]) -> bool:
        ended = listed["State"] in ("exited", "dead", "stopped", "created")
        return self._settings.keep and ended and PART in listed["Labels"]

    def _follow(self, attempt: Attempt, index: int, part: Part, container: str) -> None:
        logs = self.logs(attempt, index)
        self._logs.follow(container, logs.sl if part == "sl" else logs.ml)

    def _name(self, attempt: Attempt, index: int) -> PairName:
        return PairName(self._settings.swop, self._profile.group, attempt, index)

    def _folder(self, key: str) -> Path:
        return self._settings.folder / "logs" / key


@asynccontextmanager
async def _refusals(reason: Reason = "site") -> AsyncIterator[None]:
    """Turns an engine's refusal into a `ManagerError` with this reason; no answer, or a full disk, is the site's."""
    try:
        yield
    except EngineError as error:
        raise ManagerError(reason if error.status else "site", str(error)) from error
    except OSError as error:
        raise ManagerError("site", f"{error.filename or 'the disk'}: {error.strerror or error}") from error


def _prune(folder: Path, newest: str) -> None:
    """Removes the logs of the oldest attempts."""
    if not folder.is_dir():
        return
    kept = sorted((each for each in folder.iterdir() if each.name != newest), key=lambda each: each.stat().st_mtime)
    for each in kept[: -(KEPT_LOGS - 1)]:
        shutil.rmtree(each, ignore_errors=True)
