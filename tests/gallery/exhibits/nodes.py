"""Nodes, their hosts and their scripts."""

import shutil
import sqlite3
import subprocess
import sys

import psutil

from gallery.stage import Stage, Verdict, exhibit
from support.ports import fixed_port
from support.processes import Process
from support.swarm import identity_options
from support.swops import operations
from swarmlearning.taskfiles.definition import RunSwarm


@exhibit("a port that another program has", "port-taken", culprit="listens there")
def port_taken(stage: Stage) -> Verdict:
    sn = stage.open_sn()
    port = sn.ready["api"].rpartition(":")[2]
    return stage.why_not("sl", stage.options(1, sl_fs_port=port))


@exhibit("a data directory that another node has", "in-use", culprit="process")
def in_use(stage: Stage) -> Verdict:
    stage.open_sn()
    assert stage.site(1).ready
    return stage.why_not("sl", stage.options(2, data_dir=stage.directory / "sl-1"))


@exhibit("a full disk", "disk-full", culprit="full", needs=["root"])
def disk_full(stage: Stage) -> Verdict:
    stage.open_sn()
    place = stage.directory / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=True)
    try:
        subprocess.run(["dd", "if=/dev/zero", f"of={place}/filler"], capture_output=True)  # until there is no room
        return stage.why_not("sl", stage.options(1, data_dir=place / "sl"))
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@exhibit("a damaged chain", "chain-damaged", culprit="chain")
def damaged_chain(stage: Stage) -> Verdict:
    stage.open_sn().stop()
    with sqlite3.connect(stage.directory / "sn-1" / "chain.sqlite") as chain:
        chain.execute("UPDATE blocks SET raw = zeroblob(10) WHERE height = 0")
    return stage.doctor(identity="SN-1", data_dir=stage.directory / "sn-1")


@exhibit("a frozen SL", "stalled", culprit="site-2")
def frozen_sl(stage: Stage) -> Verdict:
    stage.open_sn()
    sites = stage.pair()
    sites[1].freeze()
    try:
        return stage.doctor()
    finally:
        sites[1].thaw()


def script_of(sl: Process) -> psutil.Process:
    """The ML stand-in of an SL."""
    children = psutil.Process(sl.pid).children(recursive=True)
    return next(each for each in children if each.cmdline()[1:2] and each.cmdline()[1].endswith("ml.py"))


@exhibit("a frozen ML process", "ml-stopped", culprit="site-2", short=True)
def frozen_ml(stage: Stage) -> Verdict:
    stage.open_sn()
    sites = stage.pair()
    script = script_of(sites[1])
    script.suspend()
    try:
        return stage.doctor()
    finally:
        script.resume()


@exhibit("an SL that was killed", "node-lost", "leader-lost", culprit="site-2")
def killed_sl(stage: Stage) -> Verdict:
    stage.open_sn()
    sites = stage.pair()
    sites[1].kill()
    stage.lost("site-2")
    return stage.doctor()


@exhibit("the SN does not run", "refused", culprit="the SN")
def no_sn(stage: Stage) -> Verdict:
    return stage.why_not("sl", stage.options(1))


@exhibit("two of three SNs are gone", "no-majority", culprit="SN-2", needs=["etcd"])
def no_majority(stage: Stage) -> Verdict:
    stage.found(3)
    stage.sns[2].kill()
    stage.sns[3].kill()
    stage.until_status(1, lambda status: status["majority"] is False)
    return stage.doctor()


@exhibit("no license server", "license", culprit="license server")
def no_license_server(stage: Stage) -> Verdict:
    stage.open_sn()
    options = stage.options(1) | {"apls-ip": "127.0.0.1", "apls-port": str(fixed_port())}
    return stage.why_not("sl", options)


@exhibit("a script that is to use a GPU where there is none", "no-gpu", culprit="site-2")
def no_gpu(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1)
    stage.site(2, environment={"CUDA_VISIBLE_DEVICES": "0"})
    stage.until_sites(2)
    return stage.doctor()


@exhibit("another model at one site", "model-differs", culprit="layer.weight")
def other_model(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1)
    stage.until_sites(1)  # the first session says which model the training has
    other = stage.site(2, "--rounds", "5", "--min-peers", "2", "--size", "17")
    other.wait()
    return stage.doctor(data_dir=stage.directory / "sl-2")


@exhibit("the data directory of another network", "wrong-network", culprit="banks")
def other_network(stage: Stage) -> Verdict:
    sn = stage.open_sn()
    sl = stage.site(1)
    assert sl.ready
    sl.kill()
    sn.kill()
    banks = stage.processes.node(
        "banks",
        "sn",
        {
            **stage.place(1),
            "network-name": "banks",
            "ordering": "local",
            "data-dir": stage.directory / "banks",
            **identity_options(stage.identities["SN-1"]),
        },
        ["--sentinel"],
    )
    assert banks.ready
    return stage.why_not("sl", stage.options(1))


OLD = (
    "import sys, swarmlearning; swarmlearning.__version__ = '0.0.9'; "
    "sys.argv = ['swarm', *sys.argv[sys.argv.index('swarmlearning.cli.main') + 1:]]; "
    "from swarmlearning.cli.main import main; main()"
)


@exhibit("a site with an old release", "old-version", culprit="site-2")
def old_release(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1)
    stage.site(2, within=[sys.executable, "-c", OLD])
    stage.until_sites(2)
    return stage.doctor()


@exhibit("a site's policy that keeps a task waiting", "awaiting-approval", culprit="SWOP-1")
def policy(stage: Stage) -> Verdict:
    stage.open_sn()
    with operations(stage) as ops:
        ops.start("SWOP-1", ["SL-1"], policy={"types": ["PULL_IMAGE"]})
        ops.task("train", RunSwarm("-c true", "/bin/sh", str(stage.directory), ()))
        ops.assign("train", 1)
        ops.mine(1, lambda peer: peer.state == "awaiting-approval")
        return stage.doctor()


@exhibit("a leader that was killed while a round waits for it", "leader-lost", "node-lost", culprit="site-")
def dead_leader(stage: Stage) -> Verdict:
    stage.open_sn()
    sites = stage.pair()
    [training] = stage.until_status(1, lambda status: any(each["leader"] for each in status["trainings"]))["trainings"]
    index = int(training["leader"].rpartition("-")[2])
    sites[index - 1].kill()
    stage.lost(training["leader"])
    return stage.doctor()


@exhibit("a training script that has ended by an error", "ended", "waits", culprit="script")
def script_ended(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1)
    sl = stage.site(2)
    stage.until_sites(2)
    script = script_of(sl)
    script.kill()
    stage.until_status(1, lambda status: not all(each["alive"] for each in status["nodes"] if each["name"] == "site-2"))
    return stage.doctor(data_dir=stage.directory / "sl-2")


@exhibit("a copied data directory", "superseded", culprit="copied")
def copied(stage: Stage) -> Verdict:
    stage.open_sn()
    first = stage.site(1)
    stage.until_sites(1)
    shutil.copytree(
        stage.directory / "sl-1", stage.directory / "copy", ignore=shutil.ignore_patterns("lock", "*.sock", "channel")
    )
    second = stage.site(1, data_dir=stage.directory / "copy", node_name="site-copy")
    assert second.ready
    first.wait()
    return stage.doctor(identity="SL-1", data_dir=stage.directory / "sl-1")


@exhibit("the disk of another site is full", "disk-full", culprit="site-2", needs=["root"])
def others_disk(stage: Stage) -> Verdict:
    place = stage.directory / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], check=True)
    try:
        stage.open_sn()
        stage.site(1)
        stage.site(2, data_dir=place / "sl")
        stage.until_sites(2)
        subprocess.run(["dd", "if=/dev/zero", f"of={place}/filler"], capture_output=True)  # until there is no room
        stage.until_status(1, lambda status: any(each["code"] == "disk" for each in status["alerts"]))
        return stage.doctor()
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
