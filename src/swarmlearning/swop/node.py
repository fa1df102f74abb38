"""A SWOP's process: its start-up, its parts and their wiring, and its end."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from swarmlearning.address import split
from swarmlearning.identity.source import IdentitySource
from swarmlearning.identity.tls import require_role
from swarmlearning.license.servers import NO_SERVERS, LicenseServers
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.node.exposed import MetricsPlace, exposed
from swarmlearning.node.joining import Membership
from swarmlearning.node.license import licensed
from swarmlearning.node.logfile import DEFAULT, LogSettings, kept_log
from swarmlearning.node.ready import ReportReady
from swarmlearning.node.renewing import LiveIdentity
from swarmlearning.swop.approvals import Approvals
from swarmlearning.swop.composing import Contact
from swarmlearning.swop.docker.manager import DockerManager
from swarmlearning.swop.docker.settings import DockerSettings
from swarmlearning.swop.driver import Driver
from swarmlearning.swop.journal import Journal
from swarmlearning.swop.judging import Judging
from swarmlearning.swop.logs import SwopShelf
from swarmlearning.swop.makers import Makers
from swarmlearning.swop.managing import ManagerError, ResourceManager
from swarmlearning.swop.process.manager import ProcessManager
from swarmlearning.swop.profile import Profile
from swarmlearning.swop.witness import WitnessSettings, witnessing

logger = logging.getLogger("swarm.swop")

WIDTH = 72


@dataclass(frozen=True)
class SwopSettings:
    """An operator's settings of one SWOP.

    `sn_address`: the SN that it contacts, `contact`: where the SLs that it starts find it while it answers.
    `profile_file` and `policy_file` (None: the default policy) lie in the user directory `usr_dir`. `witness`: where
    the profile wants one.
    """

    name: str
    sn_address: str
    contact: Contact
    data_dir: Path
    usr_dir: Path
    profile: Profile
    profile_file: Path
    policy_file: Path | None = None
    network_id: str = ""
    witness: WitnessSettings | None = None
    license_servers: LicenseServers = NO_SERVERS
    vitals: bool = True
    log: LogSettings = DEFAULT
    metrics: MetricsPlace | None = None


async def run_swop(settings: SwopSettings, source: IdentitySource, report_ready: ReportReady) -> None:
    """Runs a SWOP until it is stopped; what it has started then goes on, and the next start finds it.

    Raises `NodeError` or `CertificateError` with what to do.
    """
    require_role(source.current.certificate, "SWOP")
    with (
        DataDirectory(settings.data_dir, settings.network_id) as place,
        kept_log(settings.data_dir, settings.name, place.uid, settings.log) as log,
    ):
        own = LiveIdentity(source)
        async with (
            licensed("SWOP", settings.license_servers, own.tls.client, place.uid),
            _managed(settings, place.uid) as manager,
        ):
            logger.info("SL Nodes validation is started")
            await _work(settings, own, report_ready, place, manager, log)


async def _work(
    settings: SwopSettings,
    own: LiveIdentity,
    report_ready: ReportReady,
    place: DataDirectory,
    manager: ResourceManager,
    log: Path,
) -> None:
    remarks, found = await _checked(manager)
    for remark in remarks:
        logger.warning("%s", remark)
    approvals = Approvals(settings.data_dir)
    same_user = _same_user(settings.profile, manager)
    judging = _judging(settings, own, place.uid, approvals, manager, same_user)
    shelf = SwopShelf(log, place.uid, manager, judging.read_policy)
    member = Membership("SWOP", settings.name, settings.sn_address, own, place, shelf, vitals=settings.vitals)
    member.answer_checkups([split(settings.sn_address)[0]])

    def contact() -> Contact:
        """Through the SN in use: SLs that start while the named one is down have to find another."""
        return settings.contact.via(member.follower.client.address)

    driver = Driver(
        *(settings.profile, contact, member.follower, member.sender, manager),
        *(Journal(settings.data_dir), judging, found),
    )
    logger.info("Attempting to contact API-Server at : %s", settings.sn_address)
    try:
        health = {"ready": True, "taskrunner": settings.profile.taskrunner, "remarks": remarks}
        async with (
            witnessing(settings.witness, contact, settings.data_dir / "witness", lambda: member.follower.client),
            member.joined(
                lambda: (0, 0, None), lambda: health, leaves=lambda: not driver.busy, same_user=bool(same_user)
            ),
            approvals.watched(driver.answered),
            exposed(
                settings.metrics, "SWOP", place.uid, settings.data_dir, own, lambda: member.follower.chain, member
            ) as metrics,
        ):
            logger.info("API-Server is UP!")
            await member.announce({"sn": settings.sn_address})
            if settings.log.form == "text":
                print(_box(place.uid), flush=True)
            report_ready({"uid": place.uid, "taskrunner": settings.profile.taskrunner, **metrics})
            await driver.run()
    finally:
        if driver.busy:
            logger.warning("A task is under way: its processes go on, and this SWOP too when it is started again")
        await member.close()


@asynccontextmanager
async def _managed(settings: SwopSettings, uid: str) -> AsyncIterator[ResourceManager]:
    """The resource manager that the profile names. Raises `NodeError`."""
    roots = (settings.usr_dir,)
    if settings.profile.manager == "PROCESS":
        folder = settings.data_dir / "process"
        yield ProcessManager(folder, settings.profile, settings.contact, download_roots=roots)
        return
    try:
        containers = DockerSettings.read(os.environ, uid, settings.data_dir / "docker", roots)
        manager = DockerManager(settings.profile, containers)
    except ManagerError as error:
        raise NodeError(str(error)) from error
    try:
        yield manager
    finally:
        await manager.close()


async def _checked(manager: ResourceManager) -> tuple[list[str], list[str]]:
    """What the manager cannot do here, and the attempts that have left something. Raises `NodeError`."""
    try:
        remarks = list(await manager.check())
        found = list(await manager.attempts())
    except ManagerError as error:
        raise NodeError(f"the resource manager cannot work here: {error}") from error
    return remarks, found


def _same_user(profile: Profile, manager: ResourceManager) -> str:
    """Why ML processes would run as this SWOP's user; empty where they do not."""
    if not isinstance(manager, ProcessManager) or (manager.switches_users and all(node.user for node in profile.nodes)):
        return ""
    return "ML processes would run as this SWOP's user: start it as root, with a `user` for each node"


def _judging(
    settings: SwopSettings,
    own: LiveIdentity,
    uid: str,
    approvals: Approvals,
    manager: ResourceManager,
    same_user: str,
) -> Judging:
    protected = [settings.data_dir, settings.profile_file, *own.current.secret_paths]
    protected += [settings.policy_file] if settings.policy_file else []
    protected += [settings.witness.identity.key_path] if settings.witness else []
    images = manager.own_images if isinstance(manager, DockerManager) else ()
    return Judging(
        *(settings.profile, uid, settings.policy_file, approvals, manager, Makers(settings.data_dir), protected),
        *(images, same_user),
    )


def _box(uid: str) -> str:
    edge = "#" * WIDTH
    return "\n".join(("SWOPCtx :", edge, f"##{f'===== NODE UID :  {uid} =====':^{WIDTH - 4}}##", edge))
