"""Images and content that tasks make: pulled from a real registry, built, downloaded into volumes."""

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.containers import BUSYBOX, Podman
from support.ports import fixed_port
from support.processes import Processes
from support.tools import needs
from swarmlearning.swop.managing import Attempt, ManagerError
from swarmlearning.taskfiles.definition import (
    Credentials,
    MakeSwarmUserContent,
    MakeUserContainer,
    Operation,
    PullImage,
    SharedContent,
)
from swop.docker.stand import ATTEMPT, IMAGE, Stand

pytestmark = needs("podman")


async def make(
    stand: Stand, outcome: str, what: PullImage | MakeUserContainer | MakeSwarmUserContent, attempt: Attempt = ATTEMPT
) -> list[str]:
    return list(await stand.manager.make(attempt, outcome, what))


async def test_an_image_is_built_from_steps_and_the_files_of_a_volume(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "wheel").write_text("a wheel")
    url = (tmp_path / "wheel").as_uri()
    await stand.killed(roots=(tmp_path,), proxies={"http_proxy": "http://proxy:1"})
    content = MakeSwarmUserContent("BUILDCONTENT", (Operation("DOWNLOAD", url, "lib/wheel"),))
    (digest,) = await make(stand, "sl-cli-lib", content)
    assert digest.startswith("sha256:")
    assert list(await stand.manager.brought_in("sl-cli-lib")) == [digest]
    steps = (f"FROM {IMAGE}", "ARG http_proxy", "COPY lib /lib", "RUN echo $http_proxy > /proxy", "ENV A=1")
    (image,) = await make(stand, "user-env", MakeUserContainer(steps, "sl-cli-lib"))
    assert list(await stand.manager.brought_in("user-env")) == [image]
    shown = stand.engine.run("run", "--rm", "user-env", "cat", "/lib/wheel", "/proxy")
    assert shown == "a wheelhttp://proxy:1"
    assert (await make(stand, "user-env", MakeUserContainer(steps, "sl-cli-lib"))) == [image]  # again, after a SIGKILL
    assert stand.containers() == []


async def test_a_build_step_that_fails_is_reported_as_one(stand: Stand) -> None:
    with pytest.raises(ManagerError, match="exit status 7") as refused:
        await make(stand, "broken", MakeUserContainer((f"FROM {IMAGE}", "RUN exit 7")))
    assert refused.value.reason == "build"
    assert list(await stand.manager.brought_in("broken")) == []


async def test_each_node_gets_a_volume_of_its_own_which_its_script_can_change(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("1,2,3")
    archive = tmp_path / "data.tar"
    subprocess.run(["tar", "-C", tmp_path, "-cf", archive, "data"], check=True)
    await stand.killed(roots=(tmp_path,))
    operations = (Operation("DOWNLOAD", archive.as_uri()), Operation("EXTRACT", "data.tar", "in"))
    await make(stand, "mnist", MakeSwarmUserContent("SWARMCONTENT", operations))
    assert {"mnist-0", "mnist-1"} <= set(stand.engine.run("volume", "ls", "--quiet").split())
    shared = (SharedContent("mnist-0", "/data", "VOLUME"),)
    await stand.start("cat /data/in/data/train.csv; touch /data/in/mine && exit 2", shared_content=shared)
    await stand.manager.changed(ATTEMPT, 0, (await stand.manager.state(ATTEMPT, 0)) or pytest.fail("not started"))
    await stand.manager.stop(ATTEMPT, 0)
    assert stand.output("ml") == "1,2,3"


async def test_what_cannot_be_downloaded_leaves_nothing(stand: Stand, tmp_path: Path) -> None:
    content = MakeSwarmUserContent("BUILDCONTENT", (Operation("DOWNLOAD", (tmp_path / "no").as_uri()),))
    with pytest.raises(ManagerError) as refused:
        await make(stand, "nothing", content)
    assert refused.value.reason == "download"
    assert list(await stand.manager.brought_in("nothing")) == []
    assert not list((stand.settings.folder / "content").iterdir())


# --- registries


@contextmanager
def registry(folder: Path, password: str | None = None) -> Iterator[str]:
    """Debian's registry, which asks for the user `site` and this password; yields its address."""
    processes = Processes(folder)
    with fixed_port() as port:
        settings: dict[str, object] = {
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
            "http": {"addr": f"127.0.0.1:{port}"},
            "log": {"level": "error"},
        }
        if password is not None:
            (folder / "users").write_text(f"site:{hashed(password)}\n")
            settings["auth"] = {"htpasswd": {"realm": "swarm", "path": str(folder / "users")}}
        (folder / "registry.yml").write_text(json.dumps(settings))
        processes.start("registry", "docker-registry", "serve", folder / "registry.yml")
        try:
            yield f"127.0.0.1:{port}"
        finally:
            processes.stop()
