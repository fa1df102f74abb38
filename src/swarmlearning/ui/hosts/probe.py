"""One round of commands that finds out what a host is: it changes nothing there."""

import time
from typing import Final

from swarmlearning.ui.hosts.facts import Clock, Facts, read_facts
from swarmlearning.ui.hosts.layout import COMPLETE, MARKER, Layout
from swarmlearning.ui.hosts.machine import Machine, checked

PROBE_SECONDS: Final = 45.0

_SCRIPT: Final = r"""
say() { printf '%s\t%s\n' "$1" "$2"; }
now() { n=$(date +%s%N 2>/dev/null); case $n in *[!0-9]*|'') n=$(date +%s)000000000;; esac; say "$1" "${n%??????}"; }
brief() { if command -v timeout >/dev/null 2>&1; then timeout 5 "$@"; else "$@"; fi; }
now clock
prefix=$1
say system "$(. /etc/os-release 2>/dev/null; printf %s "${PRETTY_NAME:-$(uname -s)}")"
say kernel "$(uname -sr)"
say machine "$(uname -m)"
say libc "$(getconf GNU_LIBC_VERSION 2>/dev/null || ls /lib/ld-musl-* 2>/dev/null | head -n 1)"
say hostname "$(uname -n)"
say user "$(id -un)"
say uid "$(id -u)"
say home "$HOME"
say cores "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
say gpus "$(ls -d /dev/nvidia[0-9]* /dev/kfd 2>/dev/null | wc -l | tr -d ' ')"
say memory "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo 2>/dev/null)"
say memory_free "$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo 2>/dev/null)"
say addresses "$(hostname -I 2>/dev/null)"
seen=
python='import sys, importlib.util as u
print("%d.%d" % sys.version_info[:2], "yes" if all(map(u.find_spec, ("venv", "ssl", "zlib"))) else "no")'
for each in python3.14 python3.13 python3.12 python3.11 python3; do
    for found in $(command -v $each 2>/dev/null) /usr/local/bin/$each /opt/python/bin/$each; do
        [ -x "$found" ] || continue
        real=$(readlink -f "$found" 2>/dev/null || echo "$found")
        case " $seen " in *" $real "*) continue;; esac
        seen="$seen $real"
        version=$(brief "$found" -I -c "$python" 2>/dev/null) || continue
        say python "$found $version"
    done
done
for each in docker podman; do
    command -v $each >/dev/null 2>&1 || continue
    version=$(brief $each --version 2>/dev/null | sed -n 's/.*version \([0-9][0-9.]*\).*/\1/p')
    usable=no; brief $each version >/dev/null 2>&1 && usable=yes
    say engine "$each ${version:-unknown} $usable"
done
for each in /proc/net/tcp /proc/net/tcp6; do
    sed -n 's/^ *[0-9]*: \([0-9A-F]*:[0-9A-F]*\) [0-9A-F]*:[0-9A-F]* 0A .*/listens\t\1/p' $each 2>/dev/null |
        sort -u | head -n 2000
done
if [ -d /run/systemd/system ]; then
    say systemd "$(brief systemctl is-system-running 2>/dev/null)"
    XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}; export XDG_RUNTIME_DIR
    say user_units "$(brief systemctl --user is-system-running 2>/dev/null)"
    [ -e "/var/lib/systemd/linger/$(id -un)" ] && say lingers yes
fi
say selinux "$(getenforce 2>/dev/null)"
command -v etcd >/dev/null 2>&1 && say etcd yes
there=$prefix
while [ ! -e "$there" ]; do there=$(dirname "$there"); done
say disk_free "$(df -Pk "$there" 2>/dev/null | sed -n 2p | { read -r _ _ _ free _; printf %s "$free"; })"
[ -d "$there" ] && [ -w "$there" ] && [ -x "$there" ] && say writable yes
if [ -e "$prefix/@MARKER@" ]; then say prefix ours
elif [ -d "$prefix" ] && [ -z "$(ls -A "$prefix" 2>/dev/null)" ]; then say prefix empty
elif [ -e "$prefix" ]; then say prefix foreign
fi
if [ -f "$prefix/current/@COMPLETE@" ]; then say installed "$(basename "$(readlink "$prefix/current")")"; fi
now clock_end
""".replace("@MARKER@", MARKER).replace("@COMPLETE@", COMPLETE)


async def probe(machine: Machine, layout: Layout) -> Facts:
    """What this machine is, as its user finds it. Raises `MachineError`."""
    asked = _now_ms()
    ran = await machine.run(_SCRIPT, layout.prefix, seconds=PROBE_SECONDS)
    answered = _now_ms()
    return read_facts(checked(machine, ran, "looking at it").text, Clock(asked, answered))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
