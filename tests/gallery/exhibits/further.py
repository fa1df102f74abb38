"""What else somebody who sets a swarm up for the first time does wrong, and what machines do to each other."""

import os
import subprocess
from pathlib import Path

from gallery.exhibits.healthy import PROXY
from gallery.exhibits.standins import await_port, server
from gallery.stage import Stage, Verdict, exhibit
from support.certs import make_workspace

GREETER = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = server.accept()
    client.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\\r\\n")
"""
"""A server that speaks first, as those of SSH, SMTP and MySQL do."""

INTERCEPTOR = """
import socket, ssl, sys, threading
port, certificate, key = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
server = socket.create_server(("127.0.0.1", int(port)))
def serve(client):
    try:
        context.wrap_socket(client, server_side=True).recv(1)
    except OSError:
        pass
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
"""A device that ends TLS with a certificate of its own."""


@exhibit("an SSH server at the SN's port", "no-service", culprit="the SN")
def greeter(stage: Stage) -> Verdict:
    server(stage.processes, "greeter", GREETER, stage.ports[1])
    return stage.why_not("sl", stage.options(1))


@exhibit("certificate and key given for each other", "certificate-file", "key-file", culprit="files")
def swapped(stage: Stage) -> Verdict:
    options = stage.options(1)
    options["cert"], options["key"] = options["key"], options["cert"]
    return stage.why_not("sl", options)


@exhibit("a key that this node's user may not read", "key-file", culprit="sl-1-key.pem", needs=["root"])
def unreadable_key(stage: Stage) -> Verdict:
    stage.open_sn()
    options = stage.options(1)
    for path in (stage.directory, *stage.directory.rglob("*")):
        path.chmod(path.stat().st_mode | 0o044 | (0o011 if path.is_dir() else 0))
    Path(options["key"]).chmod(0o600)
    (stage.directory / "sl-1").mkdir()
    os.chown(stage.directory / "sl-1", 65534, 65534)
    return stage.why_not("sl", options, within=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])


@exhibit("a data directory on a file system that is mounted read-only", "not-writable", culprit="sl", needs=["root"])
def read_only(stage: Stage) -> Verdict:
    stage.open_sn()
    place = stage.directory / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", place], check=True)
    try:
        (place / "sl").mkdir()
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        return stage.why_not("sl", stage.options(1, data_dir=place / "sl"))
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@exhibit("a file system whose inodes are all in use", "disk-full", culprit="inodes", needs=["root"])
def no_inodes(stage: Stage) -> Verdict:
    stage.open_sn()
    place = stage.directory / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m,nr_inodes=16", "tmpfs", place], check=True)
    try:
        for number in range(15):
            (place / str(number)).touch()
        return stage.why_not("sl", stage.options(1, data_dir=place / "sl"))
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@exhibit("a firewall that ends TLS before the SN with a certificate of its own", "distrusted-here", culprit="the SN")
def intercepted(stage: Stage) -> Verdict:
    device = make_workspace(stage.directory / "device", ["SN-1"], ca_name="CA-9")["SN-1"]
    server(stage.processes, "device", INTERCEPTOR, stage.ports[1], str(device.cert_path), str(device.key_path))
    return stage.why_not("sl", stage.options(1))


@exhibit(
    "a site that announces an IPv6 address where others have none",
    "no-way-in",
    "unreachable-address",
    "link",
    culprit="site-2",
    hosts=3,
)
def ipv6_only_there(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1, host=2)
    stage.site(2, host=3, sl_fs_service="[2001:db8::7]:30305")
    stage.until_sites(2)
    return stage.doctor()


@exhibit(
    "a proxy that lets no connection to the SN through, for want of no_proxy",
    "proxy",
    culprit="proxy",
    hosts=2,
    needs=["tinyproxy"],
)
def no_exception(stage: Stage) -> Verdict:
    assert stage.net is not None
    file = stage.directory / "tinyproxy.conf"
    file.write_text(PROXY.format(address=stage.net.address(2)) + "ConnectPort 443\n")
    stage.processes.start("tinyproxy", *stage.hosts.command(2), "tinyproxy", "-d", "-c", file)
    stage.open_sn()
    await_port(8888, stage.net.address(2))
    variables = {"https_proxy": f"http://{stage.net.address(2)}:8888"}
    return stage.why_not("sl", stage.options(1, 2), host=2, environment=variables)


@exhibit("a script that names a contract of no other", "ended", culprit="digits")
def other_contract(stage: Stage) -> Verdict:
    stage.open_sn()
    stage.site(1)
    stage.until_sites(1)
    other = stage.site(2, "--rounds", "5", "--min-peers", "2", "--contract", "digits")
    other.wait()
    return stage.doctor(data_dir=stage.directory / "sl-2")
