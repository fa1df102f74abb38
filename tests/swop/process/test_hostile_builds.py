"""Packages and build contexts that mean harm: what a build as another user can reach, and what its digest covers."""

import asyncio
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from support.pairs import OTHER_USER, site
from support.tools import needs
from swarmlearning.swop.managing import ManagerError
from swarmlearning.swop.process import environments
from swarmlearning.swop.process.entering import Account
from swarmlearning.swop.profile import NodeDefinition
from swarmlearning.taskfiles.definition import MakeUserContainer
from swop.process.test_environments import steps, wheel


@pytest.fixture(autouse=True)
def no_index(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip takes packages from, and no other place."""
    folder = tmp_path_factory.mktemp("index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def install(*packages: str) -> MakeUserContainer:
    return steps(*(f"RUN pip install {package}" for package in packages))


def plays(monkeypatch: pytest.MonkeyPatch, package: Callable[[Path], None]) -> None:
    """In the place of pip a package's own code runs, wherever in an environment's folder its user may write."""

    async def logged(command: list[str], folder: Path, *rest: object) -> int:
        for place in (folder, folder / "venv"):
            if place.stat().st_uid == int(OTHER_USER):
                package(place)
        return 0

    monkeypatch.setattr(environments, "_logged", logged)


@needs("root")
@pytest.mark.usefixtures("private")
async def test_nothing_is_written_through_links_that_a_package_plants(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(NodeDefinition(0, user=OTHER_USER)) as here:
        victim = here.folder / "of-root"
        victim.write_text("as it was")

        def plant(place: Path) -> None:
            for name in ("complete", "pip-1-r.txt", "pip-2-r.txt"):
                with suppress(FileExistsError):
                    (place / name).symlink_to(victim)

        plays(monkeypatch, plant)
        await here.manager.make(here.attempt, "user-env", install("first", "second"))
        assert victim.read_text() == "as it was"
        assert victim.stat().st_mode & 0o777 == 0o600


@needs("root")
@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))])
async def test_pipes_and_devices_in_an_environment_are_refused(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[Path], None]
) -> None:
    def package(place: Path) -> None:
        (record := next(place.glob("lib/*/site-packages")) / "x-1.dist-info/RECORD").parent.mkdir(exist_ok=True)
        if not record.exists():
            plant(record)

    plays(monkeypatch, package)
    async with site(NodeDefinition(0, user=OTHER_USER)) as here:
        with pytest.raises(ManagerError, match="files, folders and links alone"):
            await here.manager.make(here.attempt, "user-env", install("x"))


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
async def test_a_build_context_with_a_pipe_or_a_link_in_it_holds_up_nothing(plant: Callable[[Path], None]) -> None:
    async with site() as here:
        context = here.folder / "process/volumes/context"
        context.mkdir()
        plant(context / "r.txt")
        for lines in (("COPY r.txt /r.txt",), ("COPY . /",)):
            build = steps(*lines, "RUN pip install -r /r.txt", context="context")
            with pytest.raises(ManagerError, match=r"not a plain file|no line before"):
                await asyncio.wait_for(here.manager.make(here.attempt, "user-env", build), 60)


@needs("root")
async def test_a_build_as_another_user_cannot_end_what_ends_it(tmp_path: Path) -> None:
    """It kills its parents, and leaves a process behind in a session of its own."""
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n os.setsid()\n open('left', 'w').write(str(os.getpid()))\n time.sleep(1000)\n"
        "while not os.path.exists('left') or not open('left').read(): time.sleep(0.01)\n"
        "try: os.kill(os.getppid(), 9)\nexcept PermissionError: print('cannot')\n"
    )
    async with site() as here:
        place = here.folder / "place"
        place.mkdir()
        os.chown(place, int(OTHER_USER), int(OTHER_USER))
        log, account = tmp_path / "log", Account(int(OTHER_USER), int(OTHER_USER), ())
        command = ["/usr/bin/python3", "-c", code]
        assert await environments._logged(command, place, account, log, {"PATH": os.defpath}) == 0
        assert log.read_text() == "cannot\n"
        assert not Path(f"/proc/{(place / 'left').read_text()}").exists()


async def test_a_wheel_with_the_record_of_another_one_has_another_digest(no_index: Path) -> None:
    digests = []
    for body in ("VALUE = 1", "VALUE = 2"):
        async with site() as here:
            wheel(no_index, "changed", body)
            digests.append(await here.manager.make(here.attempt, "user-env", install("changed")))
    assert digests[0] != digests[1]
