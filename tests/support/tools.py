"""Plugin of pytest: the programs and abilities that real tests need beyond Python, and how to get them.

Nothing is skipped silently: the summary counts what did not run, by reason.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.namespaces import SLOW_QDISC
from support.thinlinks import TUN


def needs(tool: str) -> pytest.MarkDecorator:
    """Marks tests that need one of `etcd`, `chromium` (and Playwright), `nginx` (with its stream module), `tinyproxy`,
    `netns` (network namespaces), `tbf` (slow links between them), `tun` (and long ones), `ipv6`,
    `faketime` (wrong clocks), `promtool` (and Prometheus), `podman`, `registry` (of container images),
    `systemd-analyze`, `root`, `cgroup` (control groups of one's own), `views` (mount namespaces), `cuda`,
    `numpy-1.26` (from a package index), or of the machine-learning frameworks in `FRAMEWORKS`."""
    return pytest.mark.needs(tool)


def require(tool: str) -> None:
    """The same for a whole file of tests, which cannot be imported without it: call it before that import."""
    if reason := lacks(tool):
        pytest.skip(reason, allow_module_level=True)


@cache
def lacks(tool: str) -> str | None:
    """The reason why a test that needs this cannot run, None when it can."""
    return CHECKS[tool]()


def _etcd() -> str | None:
    return None if shutil.which("etcd") else "etcd is missing: apt-get install etcd-server"


def libfaketime() -> Path | None:
    """The library that makes a program see another time; None where it is not installed."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


def _faketime() -> str | None:
    return None if libfaketime() else "libfaketime is missing: apt-get install faketime"


def _systemd() -> str | None:
    return None if shutil.which("systemd-analyze") else "systemd-analyze is missing: apt-get install systemd"


def _promtool() -> str | None:
    return None if shutil.which("promtool") else "promtool is missing: apt-get install prometheus"


def _chromium() -> str | None:
    if shutil.which("chromium") is None:
        return "chromium is missing: apt-get install chromium"
    return None if find_spec("playwright") else "Playwright cannot be imported: make install"


def _nginx() -> str | None:
    if nginx_stream() is None:
        return "nginx with its stream module is missing: apt-get install nginx libnginx-mod-stream"
    return None


def _tinyproxy() -> str | None:
    return None if shutil.which("tinyproxy") else "tinyproxy is missing: apt-get install tinyproxy-bin"


def nginx_stream() -> str | None:
    """The line that an nginx configuration begins with to have the stream module; empty when it is built in."""
    if not shutil.which("nginx"):
        return None
    built = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=True).stderr
    if "--with-stream_ssl_preread_module" not in built:
        return None
    if "--with-stream=dynamic" not in built:
        return ""
    folder = re.search(r"--modules-path=(\S+)", built)
    module = Path(folder[1] if folder else "modules", "ngx_stream_module.so")
    return f"load_module {module};" if module.is_file() else None


def _netns() -> str | None:
    if os.geteuid() != 0:
        return "network namespaces need root: run the tests as root"
    for program in ("ip", "iptables", "unshare"):
        if not shutil.which(program):
            return f"{program} is missing: apt-get install iproute2 iptables util-linux"
    tried = subprocess.run(["unshare", "--net", "iptables", "--list-rules"], capture_output=True, text=True)
    if tried.returncode != 0:
        return f"network namespaces cannot be used here, although you are root ({tried.stderr.strip()})"
    return None


def _tbf() -> str | None:
    if why := _netns():
        return why
    command = ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", *SLOW_QDISC, "rate", "1mbit"]
    tried = subprocess.run(command, capture_output=True, text=True)
    return f"links cannot be slowed down here ({tried.stderr.strip()})" if tried.returncode else None


def _tun() -> str | None:
    return _tbf() or (None if TUN.exists() else f"links cannot be delayed here: {TUN} is missing: modprobe tun")


def _podman() -> str | None:
    if os.geteuid() != 0:
        return "containers of the tests need root: run the tests as root"
    absent = [name for name in ("podman", "runc", "busybox") if not shutil.which(name)]
    if absent:
        return f"{', '.join(absent)} missing: apt-get install podman runc busybox-static"
    return None


def _registry() -> str | None:
    return None if shutil.which("docker-registry") else "docker-registry is missing: apt-get install docker-registry"


def _sshd() -> str | None:
    return (
        None if shutil.which("sshd", path="/usr/sbin:/usr/bin") else "sshd is missing: apt-get install openssh-server"
    )


def _own_systemd() -> str | None:
    if why := _root() or _sshd():
        return why
    if not (shutil.which("dbus-daemon") and shutil.which("systemd-run") and Path("/lib/systemd/systemd").exists()):
        return "systemd or its bus is missing: apt-get install systemd dbus-daemon"
    command = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "cgroup2", "none", "/mnt"]
    tried = subprocess.run(command, capture_output=True, text=True)
    return f"control groups (cgroup v2) cannot be mounted here ({tried.stderr.strip()})" if tried.returncode else None


def _ipv6() -> str | None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        return f"IPv6's loopback address is missing: sysctl net.ipv6.conf.lo.disable_ipv6=0 ({error.strerror})"
    return None


def _numpy_1_26() -> str | None:
    with TemporaryDirectory() as folder:
        wanted = ["--no-deps", "--only-binary", ":all:", "--dest", folder, "numpy==1.26.*"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *wanted]
        tried = subprocess.run(command, capture_output=True, text=True)
    return f"NumPy 1.26 cannot be fetched for this Python ({tried.stderr.strip()})" if tried.returncode else None


def _root() -> str | None:
    return None if os.geteuid() == 0 else "users can be switched by root only: run the tests as root"


def _views() -> str | None:
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "swarmlearning.swop.process.view", folder]
        tried = subprocess.run(command, capture_output=True, text=True)
    return f"mount namespaces cannot be made here ({tried.stderr.strip()})" if tried.returncode else None


def _cgroup() -> str | None:
    from swarmlearning.swop.process.limits import ControlGroups

    if ControlGroups.of_this_process().base is None:
        return "there are no control groups (cgroup v2) for this process to use: systemd-run --user -p Delegate=yes"
    return None


FRAMEWORKS = {
    "jax": ("jax",),
    "keras": ("keras", "tensorflow"),
    "huggingface": ("transformers", "accelerate", "peft"),
    "lightning": ("lightning",),
    "opacus": ("opacus",),
}
"""The tools that tests need, and the packages that have them; `make test` installs them where it can."""


def _framework(name: str) -> str | None:
    absent = [package for package in FRAMEWORKS[name] if find_spec(package) is None]
    return f"{', '.join(absent)} cannot be imported: make frameworks" if absent else None


def _cuda() -> str | None:
    if find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            return None
    return "a GPU that PyTorch can use is missing: run the tests on a machine that has one"


CHECKS: dict[str, Callable[[], str | None]] = {
    "etcd": _etcd,
    "promtool": _promtool,
    "chromium": _chromium,
    "nginx": _nginx,
    "tinyproxy": _tinyproxy,
    "netns": _netns,
    "tbf": _tbf,
    "tun": _tun,
    "ipv6": _ipv6,
    "faketime": _faketime,
    "root": _root,
    "views": _views,
    "cgroup": _cgroup,
    "cuda": _cuda,
    "podman": _podman,
    "systemd-analyze": _systemd,
    "registry": _registry,
    "sshd": _sshd,
    "systemd": _own_systemd,
    "numpy-1.26": _numpy_1_26,
    **{name: partial(_framework, name) for name in FRAMEWORKS},
}


# --- pytest's hooks -------------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(tool): a real test that needs this tool")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        if reason := lacks(marker.args[0]):
            pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts the skipped tests by reason, whichever process skipped them."""
    skipped = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    for reason, count in sorted(skipped.items()):
        why = reason.removeprefix("Skipped: ")
        terminalreporter.write_line(f"NOT RUN: {count} tests or files of tests, because {why}", red=True)
