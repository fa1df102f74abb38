"""The story by containers: an engine for each host, with this tree's images; the original's client on the third.

User containers run as user 1000, SLs as the user of their image.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import bundle
from operate.processes import SCRIPTS
from operate.story import ORIGINAL, SITES, Means
from support import images
from support.containers import Podman, podman
from support.namespaces import Namespaces
from support.sns import Network

SITE: Final = "localhost/site:latest"
"""What each site builds on: NumPy and a client, ours or that of the original."""
SL_IMAGE, USER_IMAGE = (f"swarmlearning/{name}:{bundle.version()}" for name in ("sl", "user"))
SL_USER: Final = 58000
"""The user of the SL's image."""
WITHOUT_OURS: Final = f"""
FROM {USER_IMAGE}
USER root
RUN rm -r /opt/swarm/lib/python3*/site-packages/swarmlearning*
RUN python3 -c 'import numpy' && ! python3 -c 'import swarmlearning'
"""


def prepare(archive: Path) -> None:
    """Writes the images that the story needs; builds them if they have not been built. Needs the machine's network."""
    with podman(images=images.provide()) as engine:
        engine.run("save", "--quiet", "--multi-image-archive", "--output", archive, SL_IMAGE, USER_IMAGE)


@contextmanager
def engines(hosts: Namespaces, archive: Path) -> Iterator[Mapping[int, Podman]]:
    """An engine for each host, with the images of the archive; containers are in the host's network."""
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="site-") as folder:
        made = {}
        for host, sls in SITES.items():
            within = ["nsenter", f"--net=/run/netns/{hosts.name(host)}"]
            engine = made[host] = stack.enter_context(podman(within=within))
            engine.run("load", "--quiet", "--input", archive)
            if ORIGINAL in sls:
                file = Path(folder, "Dockerfile")
                file.write_text(WITHOUT_OURS)
                engine.run("build", "--isolation", "chroot", "--pull-never", "--tag", SITE, "--file", file, folder)
            else:
                engine.run("tag", USER_IMAGE, SITE)
        yield made


def containers(net: Network, engines: Mapping[int, Podman]) -> Means:
    shared = net.directory / "scripts"
    shared.mkdir()
    for script in SCRIPTS:
        shutil.copy(script, shared)
    users = {"SWOP_SL_IMAGE": SL_IMAGE, "SWOP_UID": "1000", "SWOP_GID": "1000", "SWOP_SL_USER": f"{SL_USER}:{SL_USER}"}
    return Means(
        build_steps=(f"FROM {SITE}", "RUN touch /tmp/made"),
        outcome="localhost/made:latest",
        profile={"resourcemgr": {"mgrtype": "DOCKER"}, "network": "podman"},
        environments={host: {**engine.environment, **users} for host, engine in engines.items()},
        python=lambda client: "python3",
        shared=shared,
        left=lambda host: engines[host].run("ps", "--all", "--format", "{{.Names}}").split(),
        sl_user=SL_USER,
    )
