"""The resource manager PROCESS: what a task asks of it, put together from the other modules of this room."""

import asyncio
import dataclasses
import fcntl
import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from swarmlearning.swop.composing import Contact
from swarmlearning.swop.content import DEFAULT_BOUNDS, Bounds, fill
from swarmlearning.swop.managing import Attempt, ManagerError, Pair, PairLogs, PairState
from swarmlearning.swop.process import accounts, composing, environments, view
from swarmlearning.swop.process.entering import Account, Part
from swarmlearning.swop.process.environments import Build, Environment
from swarmlearning.swop.process.limits import HOW, ControlGroups
from swarmlearning.swop.process.outcomes import Outcome, Outcomes
from swarmlearning.swop.process.parts import KeptPart
from swarmlearning.swop.process.places import PairPlaces, Places, open_to_readers, remove, walk
from swarmlearning.swop.process.stacks import STACKS_SIGNAL, STACKS_VARIABLE, show_stacks
from swarmlearning.swop.process.steps import read_steps
from swarmlearning.swop.profile import Profile
from swarmlearning.taskfiles.definition import MakeSwarmUserContent, MakeUserContainer, PullImage

PROBE_SECONDS: Final = 30.0
SHARED_MODE: Final = 0o3770
"""Of the folder between SL and ML of different users: see `sl/handing.py`."""


class ProcessManager:
    """Fulfils `ResourceManager`. `root` is its folder, which one SWOP uses at a time."""

    def __init__(
        self,
        root: Path,
        profile: Profile,
        contact: Contact,
        *,
        download_roots: Collection[Path] = (),
        bounds: Bounds = DEFAULT_BOUNDS,
        sl_part: Callable[..., Part] = composing.sl_part,
    ) -> None:
        """`contact`: how SLs reach the network; `download_roots`: folders from which `file:` URLs may be downloaded."""
        self._places = Places(root.absolute())
        self._profile = profile
        self._contact = contact
        self._download_roots = download_roots
        self._bounds = bounds
        self._sl_part = sl_part
        self._outcomes = Outcomes(self._places.outcomes)
        self._groups = ControlGroups(None)
        self._building = asyncio.Lock()
        self.has_views = False
        """Whether pairs have views of the file system of their own; known after `check`."""

    @property
    def switches_users(self) -> bool:
        """Whether ML processes run as the users that the profile names."""
        return accounts.may_switch()

    async def check(self) -> Sequence[str]:
        """See `ResourceManager`."""
        if sys.platform != "linux":
            raise ManagerError("unsupported", "PROCESS needs Linux: use DOCKER on this host")
        try:
            await asyncio.to_thread(self._places.prepare)
        except OSError as error:
            raise ManagerError("site", f"{error.filename}: {error.strerror}") from error
        self._groups = await asyncio.to_thread(ControlGroups.of_this_process)
        why_not = await self._probe()
        self.has_views = not why_not
        return [*self._remarks(why_not)]

    def _remarks(self, why_no_views: str) -> Iterator[str]:
        nodes = self._profile.nodes
        if not self.switches_users:
            yield (
                "ML processes run as the user of this SWOP and can read its files and keys: start it as root, and name "
                "a user for each node in the profile, to have them run as that user"
            )
        elif without := [str(node.index) for node in nodes if node.user is None]:
            yield f"ML processes of nodes {', '.join(without)} run as root and can read all keys: name a user for each"
        if why_no_views:
            yield (
                "this host lets the SWOP make no mount namespaces "
                f"({why_no_views}): contents are found only where they lie, and one pair at a time can run"
            )
        if self._groups.base is None:
            yield (
                "there are no control groups to enforce a policy's limits with: pairs start only where it states none, "
                f"but for the number of processes of nodes with a user of their own. {HOW}"
            )

    async def _probe(self) -> str:
        """The reason why views cannot be made here, empty where they can."""
        scratch = self._places.root / "trial"
        try:
            await asyncio.to_thread(remove, scratch)  # of a SWOP that was killed
            scratch.mkdir(mode=0o700)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", view.__name__, scratch),
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(PROBE_SECONDS):
                _, said = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"no answer within {PROBE_SECONDS:.0f} s"
        finally:
            await asyncio.to_thread(remove, scratch)
        return said.decode(errors="replace").strip()[-200:] or "no reason given" if process.returncode else ""

    # --- what tasks make --------------------------------------------------------------------------------------------

    async def make(
        self, attempt: Attempt, outcome: str, what: MakeUserContainer | PullImage | MakeSwarmUserContent
    ) -> Collection[str]:
        """See `ResourceManager`."""
        async with self._building:
            if isinstance(what, MakeUserContainer):
                return await self._make_environment(attempt, outcome, what)
            if isinstance(what, MakeSwarmUserContent):
                return await self._make_content(attempt, outcome, what)
            if known := await self.brought_in(outcome):
                return known
            raise ManagerError(
                "unsupported",
                f"PROCESS has no images, so {outcome} cannot be pulled: make an environment of that name by a "
                "MAKE_USER_CONTAINER task, or use DOCKER",
            )

    async def brought_in(self, outcome: str) -> Collection[str]:
        """See `ResourceManager`."""
        found = self._outcomes.find(outcome)
        return found.digests if found else ()

    async def _make_environment(self, attempt: Attempt, outcome: str, what: MakeUserContainer) -> Collection[str]:
        context = self._places.volume(what.build_context) if what.build_context else None
        build = Build(read_steps(what.build_steps), context, self._builder())
        name = await asyncio.to_thread(lambda: build.name)
        folder = self._places.environments / name
        if build.account is not None:
            self._places.admit_others(folder.parent)
        digest = await environments.make(build, folder, self._places.builds / f"{attempt.key}.log", self._variables())
        made = Outcome(outcome, (digest,), name, build.recipe.variables)
        await asyncio.to_thread(self._keep, made)
        return made.digests

    def _variables(self) -> dict[str, str]:
        """What pip and downloads go by: the profile's variables for all nodes, which may name proxies, precede."""
        return {**os.environ, **self._profile.environment}

    def _builder(self) -> Account | None:
        """The account that packages are installed as: what they run meanwhile may do no more than an ML process."""
        for node in self._profile.nodes:
            if account := accounts.account(node, "build"):
                return account
        return None

    async def _make_content(self, attempt: Attempt, outcome: str, what: MakeSwarmUserContent) -> Collection[str]:
        """Fills one folder, which the volume or each node's volume becomes then."""
        target = self._places.volume(outcome)
        filling = self._places.volumes / f".{attempt.key}"
        try:
            await asyncio.to_thread(remove, filling)
            filling.mkdir()
            digests = tuple(await fill(filling, what.operations, self._download_roots, self._bounds, self._variables()))
            if what.kind == "BUILDCONTENT":
                await asyncio.to_thread(_put, filling, target, None)
            else:
                await asyncio.to_thread(self._put_copies, filling, outcome)
            await asyncio.to_thread(self._keep, Outcome(outcome, digests))
        except OSError as error:
            raise ManagerError("site", f"{error.filename or target}: {error.strerror or error}") from error
        finally:
            await asyncio.to_thread(remove, filling)
        return digests

    def _put_copies(self, filling: Path, outcome: str) -> None:
        for node in self._profile.nodes:
            copy = self._places.volumes / f"{filling.name}-{node.index}"
            remove(copy)
            shutil.copytree(filling, copy, symlinks=True)
            _put(copy, self._places.volume(f"{outcome}-{node.index}"), accounts.account(node, "content"))

    def _keep(self, outcome: Outcome) -> None:
        """Keeps an outcome; environments that none refers to any more are removed where no attempt can use them."""
        self._outcomes.keep(outcome)
        used = {known.environment for known in self._outcomes}
        if not any(self._places.attempts.iterdir()):
            for folder in self._places.environments.iterdir():
                if folder.name not in used:
                    remove(folder)

    # --- pairs ------------------------------------------------------------------------------------------------------

    async def start(self, attempt: Attempt, pair: Pair) -> None:
        """See `ResourceManager`."""
        own, node = self._places.pair(attempt.key, pair.node.index), pair.node
        sl, ml = _parts(own)
        if sl.started and ml.started:
            ml.require_start()
            return
        environment = self._environment(pair.base)
        account = accounts.account(node, attempt.key)
        group = accounts.shared_group(attempt.key, node.index) if account else None
        variables = {composing.TOKEN: composing.token(attempt, node.index)}
        try:
            shared = await asyncio.to_thread(self._prepare, own, account, group)
            mark = {**variables, **composing.channels(self._profile.group, attempt, node.index, str(shared))}
            sl_part = self._sl_part(pair, self._contact, self._places, own, shared, mark, group)
            ml_part = self._ml_part(attempt, pair, environment, own, shared, account)
            with self._turn(shared) as held:
                await sl.start(sl_part, held)
            try:
                await ml.start(ml_part)
            except ManagerError:
                await self.stop(attempt, node.index)
                raise
        except OSError as error:
            raise ManagerError("site", f"{error.filename or own.folder}: {error.strerror or error}") from error

    def _environment(self, base: str) -> Environment:
        if not base:
            return environments.OWN
        found = self._outcomes.find(base)
        folder = self._places.environments / found.environment if found and found.environment else None
        if found is None or folder is None or not folder.is_dir():
            raise ManagerError("no-start", f"there is no environment {base!r} here: run the task that makes it")
        return environments.environment_in(folder, found.variables)

    def _prepare(self, own: PairPlaces, account: Account | None, group: int | None) -> Path:
        """Makes the folders of a pair; returns the one that SL and ML share."""
        shared = own.shared if self.has_views else Path(composing.SHARED)
        for folder in (own.folder, own.sl_log.parent, own.home, own.view):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shared.mkdir(mode=0o700, exist_ok=True)
        if (found := shared.lstat()).st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
            raise ManagerError("site", f"{shared} is not a folder of this SWOP's user: remove it")
        if group is not None:
            os.chown(shared, -1, group)
            shared.chmod(SHARED_MODE)
        if account is not None:
            os.chown(own.home, account.uid, account.gid)
            for passed in (own.folder, own.view, self._places.environments, self._places.volumes):
                self._places.admit_others(passed)
        return shared

    def _ml_part(
        self,
        attempt: Attempt,
        pair: Pair,
        environment: Environment,
        own: PairPlaces,
        shared: Path,
        account: Account | None,
    ) -> Part:
        """The ML process with its view and limits. Raises `ManagerError`."""
        mounts = composing.mounts(pair, self._places, shared, account)
        node = pair.node
        variables = {
            composing.TOKEN: composing.token(attempt, node.index),
            "SWARM_CHANNEL": f"{composing.SHARED}/ml.sock",
            "SWARM_START_SECONDS": "600",
            STACKS_VARIABLE: str(STACKS_SIGNAL),
            **composing.channels(self._profile.group, attempt, node.index, composing.SHARED),
        }
        part = composing.ml_part(pair, environment, own, variables, account)
        if self.has_views:
            part = dataclasses.replace(part, view=str(own.view), mounts=mounts)
        else:
            for mount in mounts[1:]:
                if Path(mount.target).resolve() != Path(mount.source):
                    raise ManagerError(
                        "unsupported",
                        f"{mount.source} cannot appear at {mount.target}, since this host lets the SWOP make no mount "
                        "namespaces: name in the task the path at which it lies",
                    )
        limits = pair.limits
        if limits.processes is not None and self._groups.base is None and account is not None:
            part = dataclasses.replace(part, processes=limits.processes)
            limits = limits._replace(processes=None)
        group = self._groups.make(f"{attempt.key}.{node.index}", limits)
        return dataclasses.replace(part, cgroup=str(group) if group else None)

    @contextmanager
    def _turn(self, shared: Path) -> Iterator[list[int]]:
        """The lock that a pair without a view needs, as long as its SL runs. Raises `ManagerError`."""
        if shared != Path(composing.SHARED):
            yield []
            return
        lock = os.open(self._places.root / "shared.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield [lock]
        except BlockingIOError:
            raise ManagerError(
                "unsupported",
                f"another pair uses {composing.SHARED}, and one pair at a time can run, since this host lets the SWOP "
                "make no mount namespaces: end the profile's list of nodes after the first one",
            ) from None
        finally:
            os.close(lock)

    async def state(self, attempt: Attempt, index: int) -> PairState | None:
        """See `ResourceManager`."""
        sl, ml = _parts(self._places.pair(attempt.key, index))
        return _state(sl, ml) if sl.started and ml.started else None

    async def changed(self, attempt: Attempt, index: int, known: PairState) -> PairState:
        """See `ResourceManager`. It waits for all that ran in the state compared, even if some have ended since."""
        parts = _parts(self._places.pair(attempt.key, index))
        while (now := _state(*parts)) == known:
            ends = [asyncio.create_task(one.ended()) for one, code in zip(parts, now[:2], strict=True) if code is None]
            try:
                if not ends:
                    await asyncio.Event().wait()  # nothing changes any more
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
                await asyncio.gather(*ends, return_exceptions=True)
        return now

    async def stop(self, attempt: Attempt, index: int) -> None:
        """See `ResourceManager`."""
        await self._stop(attempt.key, index)

    async def clean(self, key: str) -> None:
        """See `ResourceManager`."""
        folder = self._places.attempts / key
        for index in (each.name for each in folder.glob("*") if each.name.isdecimal()):  # else left of a removal
            await self._stop(key, int(index))
            self._groups.remove(f"{key}.{index}")
        try:
            for left in (folder, *self._places.volumes.glob(f".{key}*")):
                await asyncio.to_thread(remove, left)
            await asyncio.to_thread(self._places.forget_old_logs)
        except OSError as error:
            raise ManagerError("site", f"{error.filename or folder}: {error.strerror or error}") from error

    async def _stop(self, key: str, index: int) -> None:
        sl, ml = _parts(self._places.pair(key, index))
        for part, grace in ((ml, composing.ML_GRACE), (sl, composing.SL_GRACE)):
            await part.stop(grace)
            if part.lost:
                await asyncio.to_thread(_end_marked, f"{composing.TOKEN}={key}.{index}")

    async def attempts(self) -> Collection[str]:
        """See `ResourceManager`."""
        attempts = self._places.attempts
        return [folder.name for folder in attempts.iterdir()] if attempts.is_dir() else []

    async def show_stacks(self, attempt: Attempt, index: int) -> bool:
        """See `ResourceManager`."""
        return await asyncio.to_thread(show_stacks, f"{composing.TOKEN}={composing.token(attempt, index)}")

    def logs(self, attempt: Attempt, index: int) -> PairLogs:
        """See `ResourceManager`."""
        own = self._places.pair(attempt.key, index)
        return PairLogs(own.sl_log, own.ml_log)


def _parts(own: PairPlaces) -> tuple[KeptPart, KeptPart]:
    """SL and ML."""
    return KeptPart(own.folder / "sl"), KeptPart(own.folder / "ml")


def _state(sl: KeptPart, ml: KeptPart) -> PairState:
    return PairState(sl.code, ml.code, ml.limited)


def _put(content: Path, target: Path, account: Account | None) -> None:
    """Moves content to where the volume is, in place of what was there."""
    if account is not None:
        for path in (content, *walk(content)):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
    open_to_readers(content)
    old = target.with_name(f".{target.name}.old")
    remove(old)
    if target.exists():
        target.rename(old)
    content.rename(target)
    remove(old)


def _end_marked(mark: str) -> None:
    """Kills the processes that have this in their environment: those of a pair whose warden was killed."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
