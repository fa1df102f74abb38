"""Environments made by pip from a folder of wheels, and contents: what scripts find in them."""

import asyncio
import hashlib
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from support.pairs import OTHER_USER, Site, shell, site
from support.tools import needs
from swarmlearning.swop.managing import ManagerError, Pair
from swarmlearning.swop.process import environments
from swarmlearning.swop.profile import NodeDefinition
from swarmlearning.taskfiles.definition import (
    MakeSwarmUserContent,
    MakeUserContainer,
    Operation,
    PullImage,
    SharedContent,
)


def wheel(folder: Path, name: str, body: str, version: str = "1.0") -> Path:
    """A wheel with one module of that name."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", body)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


@pytest.fixture(autouse=True)
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip takes packages from, and no other place."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def steps(*lines: str, context: str | None = None) -> MakeUserContainer:
    return MakeUserContainer(("FROM python", *lines), context)


async def output(here: Site, base: str, script: str) -> str:
    await here.manager.start(here.attempt, Pair(here.profile.nodes[0], shell(script), base, "uid", {}, {}))
    await here.ml_ended()
    return here.output()


async def test_an_environment_has_its_packages_its_variables_and_the_client(no_index: Path) -> None:
    wheel(no_index, "in_environment", "VALUE = 1")
    build = steps("ENV COLOUR=blue", "RUN pip install in_environment numpy swarmlearning-client")
    async with site() as here:
        digests = await here.manager.make(here.attempt, "user-env", build)
        assert await here.anew().brought_in("user-env") == digests
        [folder] = (here.folder / "process/environments").iterdir()
        made = folder.stat().st_ctime_ns
        assert await here.manager.make(here.attempt, "same-again", build) == digests
        assert folder.stat().st_ctime_ns == made
        script = 'python -c "import in_environment as i, numpy, swarmlearning.client; print(i.__file__)"; echo $COLOUR'
        where, colour = (await output(here, "user-env", script)).splitlines()
        assert Path(where).is_relative_to(folder)
        assert colour == "blue"
        assert "in_environment-1.0" in (here.folder / f"process/builds/{here.attempt.key}.log").read_text()


async def test_files_of_the_build_context_are_installed(tmp_path: Path) -> None:
    async with site() as here:
        context = here.folder / "process/volumes/context"
        wheel(context, "from_context", "VALUE = 2")
        (context / "requirements.txt").write_text("# the site's\nnumpy  # any\n\nswarmlearning-client>=2\n")
        build = steps(
            "COPY from_context-1.0-py3-none-any.whl requirements.txt /tmp/",
            "RUN pip install -r /tmp/requirements.txt && pip install /tmp/from_context-1.0-py3-none-any.whl",
            context="context",
        )
        first = await here.manager.make(here.attempt, "user-env", build)
        assert await output(here, "user-env", "python -c 'import from_context as f; print(f.VALUE)'") == "2\n"
        await here.manager.clean(here.attempt.key)
        wheel(context, "from_context", "VALUE = 3")
        assert await here.manager.make(here.attempt, "user-env", build) != first
        assert len(list((here.folder / "process/environments").iterdir())) == 1  # the old one has gone


async def test_what_pip_refuses_is_in_the_log() -> None:
    async with site() as here:
        with pytest.raises(ManagerError, match="pip has failed with exit code 1: see ") as caught:
            await here.manager.make(here.attempt, "user-env", steps("RUN pip install no-such-package"))
        assert caught.value.reason == "build"
        assert "no-such-package" in (here.folder / f"process/builds/{here.attempt.key}.log").read_text()
        assert not await here.manager.brought_in("user-env")


async def test_files_that_are_not_there_and_lines_that_are_no_requirements_are_named() -> None:
    async with site() as here:
        context = here.folder / "process/volumes/context"
        context.mkdir()
        (context / "r.txt").write_text("numpy\n-e .\n")
        (context / "link.txt").symlink_to("/etc/passwd")
        cases = {
            "r.txt, line 2: '-e .' is neither": "r.txt",
            "/link.txt: no line before": "link.txt",
            "/absent: no line before": "absent",
        }
        for reason, name in cases.items():
            build = steps(f"COPY {name} /{name}", f"RUN pip install -r /{name}", context="context")
            with pytest.raises(ManagerError) as caught:
                await here.manager.make(here.attempt, "user-env", build)
            assert reason in str(caught.value)
        with pytest.raises(ManagerError, match="names no BuildContext"):
            await here.manager.make(here.attempt, "user-env", steps("COPY a /a"))


async def test_a_build_that_is_cancelled_ends_and_is_made_anew(no_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = asyncio.Event()

    async def never(*arguments: object) -> int:
        began.set()
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(environments, "_logged", never)
    async with site() as here:
        making = asyncio.create_task(here.manager.make(here.attempt, "user-env", steps("RUN pip install numpy")))
        await asyncio.wait_for(began.wait(), 60)
        making.cancel()
        with suppress(asyncio.CancelledError):
            await making
        monkeypatch.undo()
        assert not await here.manager.brought_in("user-env")
        assert await here.anew().make(here.attempt, "user-env", steps("ENV A=1"))


@needs("root")
@pytest.mark.usefixtures("private")
async def test_packages_are_installed_as_the_user_of_ml_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[object, int]] = []

    async def logged(command: list[str], folder: Path, account: object, *rest: object) -> int:
        called.append((account, (folder / "venv").stat().st_uid))
        return 0

    monkeypatch.setattr(environments, "_logged", logged)
    async with site(NodeDefinition(0, user=OTHER_USER)) as here:
        await here.manager.make(here.attempt, "user-env", steps("RUN pip install numpy"))
        [(account, owner), _] = called  # pip, and the compiler
        assert getattr(account, "uid", None) == owner == int(OTHER_USER)
        [folder] = (here.folder / "process/environments").iterdir()
        found = [path.lstat() for path in (folder, *folder.rglob("*"))]
        assert {one.st_uid for one in found} == {os.geteuid()}
        assert all(path.lstat().st_mode & 0o044 == 0o044 for path in folder.rglob("*") if path.name != "complete")


async def test_there_are_no_images(tmp_path: Path) -> None:
    async with site() as here:
        with pytest.raises(ManagerError, match="hub/user:1 cannot be pulled") as caught:
            await here.manager.make(here.attempt, "hub/user:1", PullImage("hub", "user", "1"))
        assert caught.value.reason == "unsupported"
        with pytest.raises(ManagerError, match="no environment 'user-env' here"):
            await output(here, "user-env", "true")


async def test_content_is_made_for_each_node_and_replaced_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"data")
    fetch = Operation("DOWNLOAD", f"file://{tmp_path}/data.bin", "in/data.bin")
    async with site(NodeDefinition(0), NodeDefinition(1)) as here:
        here.manager._download_roots = [tmp_path]
        digests = await here.manager.make(here.attempt, "content", MakeSwarmUserContent("SWARMCONTENT", (fetch,)))
        assert digests == (f"sha256:{hashlib.sha256(b'data').hexdigest()}",)
        volumes = here.folder / "process/volumes"
        assert sorted(path.name for path in volumes.iterdir()) == ["content-0", "content-1"]
        (volumes / "content-0/old").touch()
        await here.manager.make(here.attempt, "content", MakeSwarmUserContent("SWARMCONTENT", (fetch,)))
        assert not (volumes / "content-0/old").exists()
        broken = MakeSwarmUserContent("SWARMCONTENT", (fetch, Operation("EXTRACT", "in/data.bin")))
        with pytest.raises(ManagerError, match="no sound tar or zip"):
            await here.manager.make(here.attempt, "content", broken)
        assert sorted(path.name for path in volumes.iterdir()) == ["content-0", "content-1"]
        task = shell(
            "cat /platform-of-test/in/data.bin",
            shared_content=(SharedContent("content-1", "/platform-of-test", "VOLUME"),),
        )
        await here.run(task)
        assert here.output() == "data"


async def test_names_of_volumes_are_no_paths() -> None:
    async with site() as here:
        for name in ("../up", "/etc", ".hidden", "", "a/b"):
            with pytest.raises(ManagerError, match="is no name of a volume"):
                await here.manager.make(here.attempt, name, MakeSwarmUserContent("BUILDCONTENT", ()))
