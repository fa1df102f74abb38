"""Images and content that tasks make: pulled from a real registry, built, downloaded into volumes."""

import base64
import json
import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.canaries import forms_of_text, leaks
from support.containers import BUSYBOX
from support.processes import Processes
from support.registry import start_registry
from support.tools import needs
from swarmlearning.swop.managing import Attempt, ManagerError, PairState
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
    with tarfile.open(archive, "w") as packed:
        packed.add(tmp_path / "data", "data")
    await stand.killed(roots=(tmp_path,))
    operations = (Operation("DOWNLOAD", archive.as_uri()), Operation("EXTRACT", "data.tar", "in"))
    await make(stand, "mnist", MakeSwarmUserContent("SWARMCONTENT", operations))
    assert {"mnist-0", "mnist-1"} <= set(stand.engine.run("volume", "ls", "--quiet").split())
    shared = (SharedContent("mnist-0", "/data", "VOLUME"),)
    await stand.start("cat /data/in/data/train.csv; touch /data/in/mine && exit 2", shared_content=shared)
    await stand.manager.changed(ATTEMPT, 0, PairState(None, None))
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


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as started:
        yield started


@needs("registry")
async def test_an_image_is_pulled_and_has_the_outcome_s_name_too(
    stand: Stand, processes: Processes, tmp_path: Path
) -> None:
    address = start_registry(processes, tmp_path, closed=False)
    stand.engine.run("push", BUSYBOX, f"{address}/org/env:1.0")
    (image,) = await make(stand, "env:latest", PullImage(f"{address}/org", "env", "1.0"))
    assert list(await stand.manager.brought_in("env:latest")) == [image]
    assert list(await stand.manager.brought_in(f"{address}/org/env:1.0")) == [image]
    with pytest.raises(ManagerError) as refused:
        await make(stand, "env:2.0", PullImage(f"{address}/org", "env", "2.0"))
    assert refused.value.reason == "pull"


@needs("registry")
async def test_a_registry_that_asks_for_a_login_gets_that_of_the_task_or_of_a_file(
    stand: Stand, processes: Processes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    address = start_registry(processes, tmp_path, closed=True)
    stand.engine.run("push", "--creds", "site:secret", BUSYBOX, f"{address}/env:1")
    login = base64.b64encode(b"site:secret").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {f"http://{address}/v1/": {"auth": login}}}))
    pull = PullImage(address, "env", "1")
    assert await make(stand, "one", pull._replace(auth=Credentials("site", "secret")))
    assert await make(stand, "two", pull._replace(auth=str(tmp_path / "config.json")))
    for auth in (None, Credentials("site", "guess")):
        with pytest.raises(ManagerError) as refused:
            await make(stand, "three", pull._replace(auth=auth))
        assert refused.value.reason == "pull"
        assert "guess" not in str(refused.value)
    assert leaks(caplog.text, {"password": forms_of_text("guess"), "header": {login, "X-Registry-Auth"}}) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"{", "is no config.json"),
        (b'{"auths": {"127.0.0.1:1": {"auth": "%%"}}}', "is damaged"),
        (b'{"credHelpers": {"127.0.0.1:1": "evil"}}', "has no login for 127.0.0.1:1"),
    ],
)
async def test_a_login_that_is_not_there_is_named_without_anything_of_its_file(
    stand: Stand, tmp_path: Path, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ManagerError, match=says) as refused:
        await make(stand, "one", PullImage("127.0.0.1:1", "env", "1", str(tmp_path / "config.json")))
    assert refused.value.reason == "pull"
