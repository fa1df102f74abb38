"""The options of `docker container create` (version 28), for hosts without a container runtime to ask."""

from __future__ import annotations

from swarmscripts.options import Option

_VALUES = """
    add-host annotation a/attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns
    cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime c/cpu-shares cpus
    cpuset-cpus cpuset-mems device device-cgroup-rule device-read-bps device-read-iops device-write-bps
    device-write-iops dns dns-option dns-search domainname entrypoint e/env env-file expose gpus group-add
    health-cmd health-interval health-retries health-start-interval health-start-period health-timeout
    h/hostname io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory l/label label-file link
    link-local-ip log-driver log-opt mac-address m/memory memory-reservation memory-swap memory-swappiness mount
    name network network-alias oom-score-adj pid pids-limit platform p/publish pull restart runtime security-opt
    shm-size stop-signal stop-timeout storage-opt sysctl tmpfs ulimit u/user userns uts v/volume volume-driver
    volumes-from w/workdir
"""
_FLAGS = """
    disable-content-trust init i/interactive no-healthcheck oom-kill-disable privileged P/publish-all q/quiet
    read-only rm t/tty use-api-socket
"""


def docker_options() -> tuple[Option, ...]:
    """All of them; a letter before a name is its short form."""
    return tuple(_option(word, "value") for word in _VALUES.split()) + tuple(
        _option(word, "") for word in _FLAGS.split()
    )


def _option(word: str, metavar: str) -> Option:
    letter, _, name = word.rpartition("/")
    return Option(name, metavar, letter=letter, handed_on=True)
