"""The command lines of a run's nodes, and the environments of its processes."""

import os
from collections.abc import Mapping
from pathlib import Path

from swarmlearning.address import split
from swarmlearning.cli.runfolder import RunFolder, site_names
from swarmlearning.identity.workspace import Workspace
from swarmlearning.node.variables import OF_ONE_NODE
from swarmlearning.supervise.environment import search_path
from swarmlearning.supervise.readiness import node_command

HOST = "127.0.0.1"


def sn_command(folder: RunFolder, **more: str) -> list[str]:
    """The command of a run's SN; `more` are options."""
    options: dict[str, str | Path] = {
        "network-name": folder.root.name,
        "node-name": "SN-1",
        "sn-api-port": "0",
        "ordering": "local",
        "data-dir": folder.sn,
        "organisations": folder.founding,
        **_named(more),
    }
    return node_command("sn", {**_common(folder.identity, "SN-1"), **options}, "--sentinel")


def sl_command(folder: RunFolder, number: int, sn: str, *flags: str, **more: str) -> list[str]:
    """The command of the SL of site `number`, which finds the SN's API at `sn`; `flags` and `more` are options."""
    host, port = split(sn)
    site = f"site-{number}"
    options: dict[str, str | Path] = {
        "sn-ip": host,
        "sn-api-port": str(port),
        "sl-fs-port": "0",
        "node-name": site,
        "data-dir": folder.site(site),
        **_named(more),
    }
    return node_command("sl", {**_common(folder.identity, f"SL-{number}"), **options}, *flags)


def bridge_command(folder: RunFolder, number: int, sn: str) -> list[str]:
    """Returns the command of an SL that serves the original's client, in a folder of this site's own."""
    return sl_command(folder, number, sn, "--bridge", bridge_dir=str(folder.bridge(f"site-{number}")))


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment that all processes of a run inherit: nothing of another swarm's settings, one thread each unless
    set otherwise (they share the machine's cores), and programs beside this interpreter first (`search_path`)."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not (name.startswith("SWARM_") or name in OF_ONE_NODE or name.endswith("_LISTEN_PORT"))
    }
    return {"OMP_NUM_THREADS": "1", **kept, "PATH": search_path(inherited), "PYTHONUNBUFFERED": "1"}


def script_environment(folder: RunFolder, index: int, count: int) -> dict[str, str]:
    """The documented variables of a site's script, but for its channel."""
    site = site_names(count)[index]
    return {
        "SWARM_INDEX": str(index),
        "SWARM_COUNT": str(count),
        "SWARM_SITE": site,
        "SWARM_RUN_DIR": str(folder.root),
        "MIN_PEERS": str(count),
        "NODE_ID": site,
        "SCRATCH_DIR": os.getenv("SCRATCH_DIR") or str(folder.site(site)),
    }


def bridge_environment(folder: RunFolder, index: int, count: int) -> dict[str, str]:
    """The variables in which the original's client finds the pipes of its site's SL."""
    place = folder.bridge(site_names(count)[index])
    return {
        "SL_REQUEST_CHANNEL": str(place / "request.channel"),
        "SL_RESPONSE_CHANNEL": str(place / "response.channel"),
    }


def _common(identity: Workspace, node: str) -> dict[str, str | Path]:
    return {
        "host-ip": HOST,
        "capath": identity.capath,
        "cert": identity.certificate(node),
        "key": identity.key(node),
    }


def _named(options: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in options.items()}
