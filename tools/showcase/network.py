"""The processes of the swarm that is shown: SNs, SWOPs and the UI, each ready before what needs it is started."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from showcase.hospitals import HOSPITALS, HOST, UI, founding, make_certificates, policy, profile
from support.ports import fixed_port
from support.swarm import identity_options
from support.swops import end_pairs
from swarmlearning.cli.nodecommands import environment
from swarmlearning.supervise.environment import search_path
from swarmlearning.supervise.processes import Child, Processes
from swarmlearning.supervise.readiness import StartedNode, node_command, start_node

USER: Final = "anna"


class SnFacts(msgspec.Struct, frozen=True):
    """What an SN reports: its API as `host:port`."""

    api: str


class UiFacts(msgspec.Struct, frozen=True):
    """What the UI reports: its address."""

    ui: str


class SwopFacts(msgspec.Struct, frozen=True):
    """What a SWOP reports: its UID."""

    uid: str


class Showcase:
    """A swarm that runs. `address`: of its UI; `password`: of `USER`, its admin; `sns`: the processes by hospital."""

    processes: Processes

    def __init__(self, folder: Path, password: str, pace: float, bundle: Path | None) -> None:
        self.password = password
        self.address = ""
        self.sns: dict[str, Child] = {}
        self.folder = folder
        self._pace = pace
        self._bundle = bundle
        self._workspace = make_certificates(folder / "cert")
        self._apis: list[str] = []

    @property
    def password_file(self) -> Path:
        """Where the UI reads the password of its first start."""
        return self.folder / "password"

    async def start(self, port: int) -> None:
        """Starts all of it; the UI on this port. Raises `RunError`."""
        (self.folder / "organisations.toml").write_text(founding(self._workspace), "utf-8")
        several = shutil.which("etcd", path=search_path(os.environ)) is not None
        for hospital in HOSPITALS if several else HOSPITALS[:1]:
            node = await self._start_sn(hospital.sn, "etcd" if several else "local")
            self.sns[hospital.id] = node.child
            self._apis.append((await node.ready(SnFacts)).api)
        self.processes.next_wave()
        ports, first = iter(fixed_port, 0), 1
        swops = []
        for number, hospital in enumerate(HOSPITALS):
            place = self.folder / hospital.swop
            place.mkdir()
            (place / "profile.yaml").write_text(profile(self._workspace, hospital, ports, first, self._pace))
            (place / "policy.yaml").write_text(policy(hospital))
            swops.append(await self._start_swop(hospital.swop, place, self._apis[number % len(self._apis)]))
            first += hospital.pairs
        ui = await self._start_ui(port)
        for swop in swops:
            await swop.ready(SwopFacts)
        self.address = (await ui.ready(UiFacts)).ui
        self.password_file.unlink()

    async def end_pairs(self) -> None:
        """Ends what the SWOPs have started: it outlives them."""
        for hospital in HOSPITALS:
            place = self.folder / hospital.swop
            if (place / "data" / "process").exists():
                await asyncio.to_thread(end_pairs, place / "profile.yaml", place / "data")

    async def _start_sn(self, name: str, ordering: str) -> StartedNode:
        options: dict[str, str | Path] = {
            **identity_options(self._workspace.identity(name)),
            "host-ip": HOST,
            "node-name": name,
            "network-name": "Thorax study",
            "ordering": ordering,
            "sn-api-port": str(fixed_port()),
            "sn-p2p-port": str(fixed_port()),
            "data-dir": self.folder / name,
        }
        if not self._apis:
            command = node_command("sn", {**options, "organisations": self.folder / "organisations.toml"}, "--sentinel")
        else:
            host, _, port = self._apis[-1].rpartition(":")
            command = node_command("sn", {**options, "sentinel-ip": host, "sentinel-api-port": port})
        return await start_node(self.processes, name, command, lasting=True)

    async def _start_swop(self, name: str, place: Path, sn: str) -> StartedNode:
        host, _, port = sn.rpartition(":")
        options: dict[str, str | Path] = {
            **identity_options(self._workspace.identity(name)),
            "host-ip": HOST,
            "sn-ip": host,
            "sn-api-port": port,
            "usr-dir": place,
            "profile-file-name": "profile.yaml",
            "policy-file": "policy.yaml",
            "data-dir": place / "data",
        }
        return await start_node(self.processes, name, node_command("swop", options), lasting=True)

    async def _start_ui(self, port: int) -> StartedNode:
        host, _, api = self._apis[0].rpartition(":")
        options: dict[str, str | Path] = {
            **identity_options(self._workspace.identity(UI)),
            "sn-ip": host,
            "sn-api-port": api,
            "port": str(port),
            "data-dir": self.folder / "ui",
            **({"bundle": self._bundle} if self._bundle else {}),
        }
        command = node_command("ui", options, "--http")
        return await start_node(self.processes, "ui", command, lasting=True)


@asynccontextmanager
async def showcase(
    folder: Path, password: str, port: int = 0, pace: float = 0.2, bundle: Path | None = None
) -> AsyncIterator[Showcase]:
    """The swarm in this folder, until the block ends; then nothing of it is left. Raises `RunError`.

    `pace`: seconds that a step of training takes; `bundle`: what the UI installs on hosts.
    """
    logs = folder / "logs"
    logs.mkdir(parents=True)
    made = Showcase(folder, password, pace, bundle)
    made.password_file.touch(0o600)
    made.password_file.write_text(password)
    admin = {"SLM_UI_ADMIN_USER": USER, "SLM_UI_ADMIN_PASSWORD_FILE": str(made.password_file)}
    try:
        async with Processes(logs, {**environment(os.environ), **admin}) as made.processes:
            await made.start(port)
            yield made
    finally:
        await made.end_pairs()
