"""Healthy, and unusual: nothing is to be found in these."""

import subprocess

from gallery.stage import Stage, Verdict, exhibit
from support.release import Release
from support.swops import operations

PROXY = """
Port 8888
Listen {address}
Timeout 600
MaxClients 50
LogLevel Connect
"""


@exhibit("healthy: one SN, two sites on this machine", short=True)
def plain(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.pair()
    return stage.doctor()


@exhibit("healthy: one SN and nobody else")
def alone(stage: Stage) -> Verdict:
    stage.open_sn()
    return stage.doctor()


@exhibit("healthy: IPv6 only", hosts=3, ipv6=True)
def ipv6(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.pair(2, 3)
    return stage.doctor()


@exhibit("healthy: a site behind NAT, through the SN's relay", hosts=4, behind={4: 3})
def relayed(stage: Stage) -> Verdict:
    stage.open_sn(relay=True)
    stage.site(1, host=2)
    stage.site(2, host=4, flags=["--relay"])
    stage.until_sites(2)
    return stage.doctor()


@exhibit("healthy: MTU 1280 end to end", hosts=3)
def small_packets(stage: Stage) -> Verdict:
    assert stage.net is not None
    for host in (0, 1, 2, 3):
        subprocess.run(["ip", "-n", stage.net.name(host), "link", "set", "net", "mtu", "1280"], check=True)
    for host in (1, 2, 3):
        subprocess.run(["ip", "-n", stage.net.name(0), "link", "set", f"to-{host}", "mtu", "1280"], check=True)
    stage.open_sn()
    stage.pair(2, 3)
    return stage.doctor()


@exhibit("healthy: a site that reaches others through an HTTP proxy alone", hosts=4, needs=["tinyproxy"])
def proxied(stage: Stage) -> Verdict:
    assert stage.net is not None
    sn, proxy, inside, outside = 1, 2, 3, 4
    stage.net.partition([inside], [sn, outside])
    file = stage.directory / "tinyproxy.conf"
    file.write_text(PROXY.format(address=stage.net.address(proxy)))
    stage.processes.start("tinyproxy", *stage.hosts.command(proxy), "tinyproxy", "-d", "-c", file)
    stage.open_sn(relay=True)
    variables = {"https_proxy": f"http://{stage.net.address(proxy)}:8888"}
    stage.site(1, host=inside, flags=["--relay"], environment=variables)
    stage.site(2, host=outside)
    stage.until_sites(2)
    return stage.doctor(host=inside, environment=variables)


@exhibit("healthy: three SNs and two sites", needs=["etcd"])
def three_sns(stage: Stage) -> Verdict:
    stage.found(3)
    stage.pair()
    return stage.doctor(sn=2)


@exhibit("healthy: a node that runs, by its data directory and its own certificate")
def own_node(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.pair()
    return stage.doctor(identity="SL-1", data_dir=stage.directory / "sl-1")


@exhibit("healthy: a site of the release before, which answers no doctor")
def older(stage: Stage) -> Verdict:
    release = Release("before-16", stage.directory / "release")
    founder = stage.start_sn_at(release.command)  # under the rules that it knows
    assert founder.ready
    founder.stop()
    stage.open_sn()
    stage.site(1)
    stage.site(2, within=release.command)
    stage.until_sites(2)
    return stage.doctor()


@exhibit("healthy: a SWOP that waits for a task", needs=["root"])
def idle_swop(stage: Stage) -> Verdict:
    stage.open_sn()
    with operations(stage) as ops:
        ops.start("SWOP-1", ["SL-1"])
        return stage.doctor()


@exhibit("healthy: a node that runs, by its command line", hosts=2)
def own_command(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.pair(2, 1)
    options = stage.options(1, 2)
    return stage.why_not("sl", options, host=2)
