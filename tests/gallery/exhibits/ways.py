"""Ways between hosts."""

import subprocess

from gallery.exhibits.standins import web_server
from gallery.stage import Stage, Verdict, exhibit
from support.ports import fixed_port

NAMES = {"site-2.example": 1}
"""What hosts look up, and to which host that leads."""


@exhibit("a firewall that is closed in one direction", "one-way", culprit="site-1", hosts=3, short=True)
def one_way(stage: Stage) -> Verdict:
    stage.open_sn()
    sites = stage.pair(2, 3)
    assert stage.net is not None
    port = sites[0].ready["fs"].rpartition(":")[2]
    rule = f"-A INPUT -s {stage.net.address(3)} -p tcp --dport {port} -j DROP"
    subprocess.run([*stage.net.command(2), "iptables", "--wait", *rule.split()], check=True)
    return stage.doctor()


@exhibit("an MTU black hole before a site", "large-lost", culprit="site-2", hosts=3, short=True)
def black_hole(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.pair(2, 3)
    assert stage.net is not None
    subprocess.run(["ip", "-n", stage.net.name(0), "link", "set", "to-3", "mtu", "1280"], check=True)
    return stage.doctor()


@exhibit("an MTU black hole between a site and its SN", "large-lost", culprit="the SN", hosts=2)
def black_hole_to_sn(stage: Stage) -> Verdict:
    stage.open_sn()
    assert stage.net is not None
    subprocess.run(["ip", "-n", stage.net.name(0), "link", "set", "to-1", "mtu", "1280"], check=True)
    return stage.why_not("sl", stage.options(1, 2), host=2)


@exhibit("a site behind NAT without a relay", "no-way-in", culprit="site-2", hosts=4, behind={4: 3})
def no_way_in(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1, host=2)
    stage.site(2, host=4)
    stage.until_sites(2)
    return stage.doctor()


@exhibit("a site that announces another node's address", "another", culprit="site-2")
def elsewhere(stage: Stage) -> Verdict:
    stage.open_sn()
    first = stage.site(1)
    stage.site(2, sl_fs_service=first.ready["fs"])
    stage.until_sites(2)
    return stage.doctor()


@exhibit("a site that announces a closed port", "no-way-in", culprit="site-2")
def closed_port(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1)
    stage.site(2, sl_fs_service="127.0.0.1:1")
    stage.until_sites(2)
    return stage.doctor()


@exhibit("a site whose announced name is not known", "unknown-host", culprit="site-2")
def name_gone(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1)
    stage.site(2, sl_fs_service="site-2.hospital.invalid:30305")
    stage.until_sites(2)
    return stage.doctor()


@exhibit("an SN whose name is not known", "unknown-host", culprit="sn.hospital.invalid")
def sn_name_gone(stage: Stage) -> Verdict:
    return stage.why_not("sl", stage.options(1, sn_ip="sn.hospital.invalid"))


@exhibit("a firewall before the SN", "silent", culprit="the SN", hosts=2)
def firewall(stage: Stage) -> Verdict:
    stage.open_sn()
    assert stage.net is not None
    stage.net.partition([1], [2])
    return stage.why_not("sl", stage.options(1, 2), host=2)


@exhibit("a slow uplink of a site", "slow-link", culprit="site-2", hosts=3, needs=["tbf"])
def slow_link(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.pair(2, 3)
    assert stage.net is not None
    stage.net.slow_down(3, 1)
    return stage.doctor()


@exhibit("a proxy in the way, which is not there", "proxy", culprit="proxy", hosts=2, needs=["tinyproxy"])
def proxy_gone(stage: Stage) -> Verdict:
    stage.open_sn()
    assert stage.net is not None
    variables = {"https_proxy": f"http://{stage.net.address(1)}:3128"}
    return stage.why_not("sl", stage.options(1, 2), host=2, environment=variables)


@exhibit("another program at the SN's port", "no-service", culprit="the SN")
def other_program(stage: Stage) -> Verdict:
    web_server(stage.processes, stage.ports[1])
    return stage.why_not("sl", stage.options(1))


@exhibit("an SL's port given as the SN's", "another", culprit="not the SN")
def not_an_sn(stage: Stage) -> Verdict:
    stage.open_sn()
    first = stage.site(1)
    port = first.ready["fs"].rpartition(":")[2]
    return stage.why_not("sl", stage.options(2, sn_api_port=port))


@exhibit("a firewall before an SN's port for other SNs", "no-way-in", culprit="SN-3", hosts=3, needs=["etcd"])
def peers_port(stage: Stage) -> Verdict:
    stage.found(3)
    assert stage.net is not None
    rule = f"-A INPUT -p tcp --dport {stage.p2p_ports[3]} -j DROP"
    subprocess.run([*stage.net.command(3), "iptables", "--wait", *rule.split()], check=True)
    return stage.doctor()


@exhibit("two sites that do not reach each other", "link", culprit="site-1", hosts=4)
def cut(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1, host=2)
    stage.site(2, host=3)
    stage.site(3, host=4)
    stage.until_sites(3)
    assert stage.net is not None
    stage.net.partition([2], [3])
    return stage.doctor()


@exhibit(
    "a site behind a relay that does not run any more", "relay", "stalled", culprit="site-2", hosts=4, behind={4: 3}
)
def behind_relay(stage: Stage) -> Verdict:
    stage.open_sn(relay=True)
    stage.site(1, host=2)
    hidden = stage.site(2, host=4, flags=["--relay"])
    stage.until_sites(2)
    hidden.freeze()
    try:
        return stage.doctor()
    finally:
        hidden.thaw()


@exhibit("a firewall that rejects the SN's port", "refused", "no-route", culprit="the SN", hosts=2)
def rejected(stage: Stage) -> Verdict:
    stage.open_sn()
    assert stage.net is not None
    rule = f"-A INPUT -p tcp --dport {stage.ports[1]} -j REJECT --reject-with icmp-port-unreachable"
    subprocess.run([*stage.net.command(1), "iptables", "--wait", *rule.split()], check=True)
    return stage.why_not("sl", stage.options(1, 2), host=2)


@exhibit(
    "a site that announces the loopback address in a network of several hosts",
    "unreachable-address",
    "no-way-in",
    culprit="site-2",
    hosts=3,
)
def loopback(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1, host=2)
    stage.site(2, host=3, host_ip="127.0.0.1")
    stage.until_sites(2)
    return stage.doctor()


@exhibit("a site that waits for a relay where no SN is one", "no-way-in", culprit="site-2", hosts=4, behind={4: 3})
def no_relay(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1, host=2)
    stage.site(2, host=4, flags=["--relay"])
    stage.until_status(1, lambda status: sum(len(each["members"]) for each in status["trainings"]) >= 2)
    return stage.doctor()


@exhibit("a site that may not connect out to another one", "one-way", culprit="site-2", hosts=3)
def no_way_out(stage: Stage) -> Verdict:
    stage.open_sn()
    sites = stage.pair(2, 3)
    assert stage.net is not None
    port = sites[0].ready["fs"].rpartition(":")[2]
    rule = f"-A OUTPUT -d {stage.net.address(2)} -p tcp --dport {port} -j REJECT"
    subprocess.run([*stage.net.command(3), "iptables", "--wait", *rule.split()], check=True)
    return stage.doctor()


@exhibit("a site's name that leads to another host", "no-way-in", "another", culprit="site-2", hosts=3, names=NAMES)
def wrong_name(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1, host=2)
    stage.site(2, host=3, sl_fs_service="site-2.example:30305")
    stage.until_sites(2)
    return stage.doctor()


@exhibit("a frozen SN", "stalled", culprit="the SN")
def frozen_sn(stage: Stage) -> Verdict:
    sn = stage.open_sn()
    stage.pair()
    sn.freeze()
    try:
        return stage.doctor()
    finally:
        sn.thaw()


@exhibit("healthy: a way that loses a tenth of all packets", hosts=3)
def lossy(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.pair(2, 3)
    assert stage.net is not None
    rule = "-A INPUT -m statistic --mode random --probability 0.1 -j DROP"
    subprocess.run([*stage.net.command(3), "iptables", "--wait", *rule.split()], check=True)
    return stage.doctor()


@exhibit("a web server that answers at a site's announced address", "no-service", culprit="site-2")
def web(stage: Stage) -> Verdict:
    stage.open_sn()
    port = fixed_port()
    web_server(stage.processes, port)
    stage.site(1)
    stage.site(2, sl_fs_service=f"127.0.0.1:{port}")
    stage.until_sites(2)
    return stage.doctor()
