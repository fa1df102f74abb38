"""Starts and stops nodes on a host, and says how they are and what they have written.

Under systemd a node is a transient unit. Elsewhere it is a process of its own session, known by its number and the
time of its start, so that a number that another process has got since is never taken for the node's.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.redaction import redacted
from swarmlearning.ui.hosts.layout import Layout, is_version
from swarmlearning.ui.hosts.machine import Machine, MachineError, Ran, checked
from swarmlearning.ui.hosts.nodes import How, Runs, check_files, kind_of, run_script, unit_name, unit_properties, usr
from swarmlearning.views.names import displayed

SCRIPT: Final = "run.sh"
READY_SECONDS: Final = 300.0
"""For long chains, and hosts that are busy: a node that fails is seen when it ends."""
STOP_SECONDS: Final = 60.0
MOST_LOG: Final = 256 * 1024
"""Bytes of a node's output that are read at once."""
KEPT_OUTPUT: Final = 16 * 2**20
"""Bytes of a node's output that are kept; it is cut when somebody asks how the node is."""
_NODE: Final = re.compile(r"[a-z]{2,4}-[a-z0-9][a-z0-9._-]{0,60}")

State: TypeAlias = Literal["running", "starting", "ended", "stopped"]
"""`ended`: it has ended by itself, well or not; `stopped`: somebody has stopped it, or it never ran."""


class NodeState(msgspec.Struct, frozen=True):
    """A node on a host: its name in lower case, how it is, what it runs under, and what it has reported when ready.
    `version`: the one that was used when it was started (`Layout.version`); empty where that is not known."""

    name: str
    state: State
    how: How
    report: dict[str, str] = {}
    version: str = ""


_COMMON: Final = r"""
XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}; export XDG_RUNTIME_DIR
ctl() { if [ "$how" = user ]; then systemctl --user "$@"; else systemctl "$@"; fi; }
stat_of() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null; }
alive() {
    [ -s pid ] || return 1
    read -r pid begun < pid
    set -- $(stat_of "$pid"); [ $# -ge 20 ] && [ "$1" != Z ] && [ "${20}" = "$begun" ]
}
state() {
    if [ "$how" != detached ]; then
        case $(ctl show --property ActiveState --value "$unit" 2>/dev/null) in
            active|reloading|deactivating) if [ -s ready ]; then echo running; else echo starting; fi;;
            activating) echo starting;;
            failed) echo ended;;
            *) if [ -e stopped ]; then echo stopped; else echo ended; fi;;
        esac
    elif alive; then if [ -s ready ]; then echo running; else echo starting; fi
    elif [ -e stopped ]; then echo stopped
    else echo ended
    fi
}
cut_output() {
    if [ -f output ] && [ "$(wc -c < output)" -gt @KEPT@ ]; then tail -c @LAST@ output > output.1; : > output; fi
}
""".replace("@KEPT@", str(KEPT_OUTPUT)).replace("@LAST@", str(KEPT_OUTPUT // 4))

_PLACE: Final = 'set -eu; umask 077; for each; do mkdir -p "$each"; done'

_START: Final = (
    _COMMON
    + r"""
set -u; umask 077
root=$1 unit=$2 how=$3 tries=$4; shift 4
cd "$root" || exit 9
before=$how; [ -f how ] && how=$(cat how)
now=$(state)
if [ "$now" = running ]; then cat ready; exit 0; fi
if [ "$now" != starting ]; then
    how=$before; printf '%s\n' "$how" > how
    cut_output; : > ready; rm -f pid stopped
    used=$(readlink "$root/../../current" 2>/dev/null); printf '%s\n' "${used##*/}" > version
fi
: >> output; from=$(wc -c < output)
if [ "$now" = starting ]; then :
elif [ "$how" = detached ]; then
    setsid sh run.sh </dev/null >/dev/null 2>&1 &
    pid=$!
    set -- $(stat_of "$pid"); printf '%s %s\n' "$pid" "${20:-gone}" > pid
else
    ctl reset-failed "$unit" 2>/dev/null
    user=; [ "$how" = user ] && user=--user
    set -- "$@" --description="Swarm Learning node" -- /bin/sh "$root/run.sh"
    systemd-run $user --quiet --unit="$unit" "$@" || exit 8
fi
while [ "$tries" -gt 0 ]; do
    [ -s ready ] && { cat ready; exit 0; }
    now=$(state); result=success  # under systemd it may have failed and be about to start again
    [ "$how" = detached ] || result=$(ctl show --property Result --value "$unit" 2>/dev/null)
    if [ "$now" = ended ] || [ "$now" = stopped ] || [ "$result" != success ]; then
        [ "$how" = detached ] || ctl stop "$unit" 2>/dev/null
        tail -c "+$((from + 1))" output | tail -c 4000 >&2
        exit 3
    fi
    sleep 0.2; tries=$((tries - 1))
done
tail -c "+$((from + 1))" output | tail -c 4000 >&2
exit 4
"""
)

_STOP: Final = (
    _COMMON
    + r"""
set -u; umask 077
root=$1 unit=$2 kind=$3 tries=$4
cd "$root" || exit 9
[ -f how ] || exit 0
how=$(cat how); : > stopped
if [ "$how" != detached ]; then
    ctl stop "$unit" 2>/dev/null; ctl reset-failed "$unit" 2>/dev/null
    case $(state) in stopped) exit 0;; *) exit 4;; esac
fi
alive || exit 0
kill -TERM "$pid"
while alive && [ "$tries" -gt 0 ]; do sleep 0.2; tries=$((tries - 1)); done
alive || exit 0
if [ "$kind" = swop ]; then kill -KILL "$pid"; else kill -KILL "-$pid"; fi
sleep 0.2
if alive; then exit 4; fi
"""
)

_STATES: Final = (
    _COMMON
    + r"""
set -u
suffix=$2
cd "$1/nodes" 2>/dev/null || exit 0
for each in *; do
    ( cd "$each" 2>/dev/null && [ -f run.sh ] || exit 0
      how=detached; [ -f how ] && how=$(cat how)
      unit=swarm-$each-$suffix
      cut_output
      used=$(head -c 100 version 2>/dev/null | head -n 1 | tr -d ' ')
      printf '%s %s %s %s %s\n' "$each" "$(state)" "$how" "${used:--}" "$(head -c 2000 ready 2>/dev/null | head -n 1)" )
done
"""
)

_LOG: Final = 'cd "$1" || exit 9; [ -f output ] || exit 0; { cat output.1 2>/dev/null; cat output; } | tail -c "$2"'


async def place(machine: Machine, layout: Layout, runs: Runs, files: Sequence[tuple[str, bytes]] = ()) -> None:
    """Puts what a node is given below its folder `usr`, and the script that runs it on the host; a node at work goes
    on as it is. Raises `MachineError`."""
    check_files(runs.name, files)
    given = usr(layout, runs.name)
    folders = sorted({f"{given}/{path}".rpartition("/")[0] for path, _ in files} | {given, runs.folder})
    checked(machine, await machine.run(_PLACE, *folders), f"making the folder of {runs.name}")
    for path, data in files:
        await machine.put(data, f"{given}/{path}", 0o600)
    await machine.put(run_script(layout, runs).encode(), f"{layout.node(runs.name)}/{SCRIPT}", 0o700)


async def start(
    machine: Machine, layout: Layout, name: str, how: How, seconds: float = READY_SECONDS
) -> dict[str, str]:
    """Starts a node that was placed, unless it runs, and waits until it is ready; returns what it reports then.

    Raises `MachineError` with the end of what it has written if it ends before, or takes longer.
    """
    root, unit, kind = layout.node(name), unit_name(layout, name), kind_of(name)
    properties = (f"--property={each}" for each in unit_properties(kind))
    words = (root, unit, how, str(int(seconds * 5)), *properties)
    ran = await machine.run(_START, *words, seconds=seconds + 30)
    if ran.status in (3, 4):
        what = "has ended before it was ready" if ran.status == 3 else f"was not ready after {seconds:.0f} s"
        raise MachineError(f"{machine.name}: {name} {what}. {_last_lines(ran)}")
    return _report(checked(machine, ran, f"starting {name}").text)


async def stop(machine: Machine, layout: Layout, name: str, seconds: float = STOP_SECONDS) -> None:
    """Stops a node in good order, and ends it if that takes longer; one that does not run is as good.

    Raises `MachineError`.
    """
    root, unit, kind = layout.node(name), unit_name(layout, name), kind_of(name)
    words = (root, unit, kind, str(int(seconds * 5)))
    ran = await machine.run(_STOP, *words, seconds=seconds + 45)
    if ran.status != 9:  # it was never there
        checked(machine, ran, f"stopping {name}")


async def states(machine: Machine, layout: Layout) -> tuple[NodeState, ...]:
    """How all nodes are that were placed on the host. Raises `MachineError`."""
    suffix = unit_name(layout, "").rpartition("-")[2]
    ran = await machine.run(_STATES, layout.prefix, suffix)
    found = (_state(line) for line in checked(machine, ran, "asking for its nodes").text.splitlines()[:256])
    return tuple(each for each in found if each is not None)


async def log(machine: Machine, layout: Layout, name: str, most: int = MOST_LOG) -> str:
    """The end of what a node has written: hostile text, whose lines have to be shown as such. Raises `MachineError`."""
    ran = await machine.run(_LOG, layout.node(name), str(most), most=most + 1024)
    return checked(machine, ran, f"reading the log of {name}").text


def _state(line: str) -> NodeState | None:
    """What a line of the states' script says; None for what is none."""
    words = line.split(" ", 4)
    if len(words) != 5 or not _NODE.fullmatch(words[0]):
        return None
    version = words[3] if is_version(words[3]) else ""
    try:
        named = {"name": words[0], "state": words[1], "how": words[2], "report": _report(words[4]), "version": version}
        return msgspec.convert(named, NodeState)
    except msgspec.ValidationError:
        return None


def _report(text: str) -> dict[str, str]:
    """What a node has reported when it was ready; empty for what is none."""
    try:
        found = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        return {}
    return {displayed(key, 40): displayed(value, 200) for key, value in list(found.items())[:16]}


def _last_lines(ran: Ran) -> str:
    lines = [displayed(line.rstrip(), 300) for line in redacted(ran.errors).splitlines() if line.strip()][-6:]
    return f"It has written: {' | '.join(lines)}" if lines else "It has written nothing"
