"""The end of a node's log: how its last start has ended, and which of its warnings say why."""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from swarmlearning.doctor.findings import Report
from swarmlearning.doctor.wording import OTHER_ID, OTHER_NETWORK
from swarmlearning.node.logfile import LogError, read_now
from swarmlearning.node.logs import ENDING, in_text
from swarmlearning.node.sealing import Wanted
from swarmlearning.views.names import displayed

LINES: Final = 400
LONGEST: Final = 600
_START: Final = re.compile(r"UID [0-9a-f-]{36}, start [0-9]+")
_FAILED: Final = "The training command has failed"
_DATED: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_READ: Final = "swarm.logs"
"""The logger of whoever reads logs, which says nothing of what the node does."""
_NO_SCRIPT: Final = "Waiting for the ML process on "
_LEAVES: Final = "The ML process leaves: "
_STOPPED: Final = re.compile(
    r"SIG(TERM|INT) received: this node is stopping|This node ends: |Training is over|The final model \w+ is |leaves: "
)


_WAY: Final = "give `swarm doctor` the node's certificate (--cert, --key, --capath) and SN (--sn-ip): it tries the way"
_CUT_OFF: Final = re.compile(r"(SN \S+ cannot be reached: .*); trying again")
"""What a node that runs says each time that it has tried its SN in vain."""
_TRIES: Final = 3
"""Where there is another SN the node has it by then."""
_FRESH_SECONDS: Final = 60


class Sign(NamedTuple):
    """What a line of a log is a sign of: the code of the finding, whose fault it is, and what to do."""

    pattern: str
    code: str
    subject: str
    remedy: str


SIGNS: Final = (
    Sign(
        r"an error that nobody expected",
        "crashed",
        "this node's program",
        "start it again, and send the report that it names to whoever maintains it",
    ),
    Sign(r"another process of this node is running", "in-use", "the data directory", "end that process"),
    Sign(
        r"the port is in use",
        "port-taken",
        "a port of this machine",
        "end the process that holds it, or choose another port",
    ),
    Sign(
        r"No space left on device|disk is full|Disk quota exceeded|database or disk is full",
        "disk-full",
        "this machine's disk",
        "make room there, then start the node again",
    ),
    Sign(
        r"No such file or directory; check the data directory",
        "not-writable",
        "the data directory",
        "start the node again, which makes its folders anew, and keep others from removing files there while it runs",
    ),
    Sign(r"--network-id names", "wrong-network", "the network that this node contacts", OTHER_ID),
    Sign(
        r"belongs to network|chain of another network",
        "wrong-network",
        "the network that this node contacts",
        OTHER_NETWORK,
    ),
    Sign(
        r"model structure is",
        "model-differs",
        "the model of this node's script",
        "make the same model at all sites: structure.txt in their data directories lists it; with an SN and the "
        "certificate of an operator, swarm doctor says which tensor differs",
    ),
    Sign(r"All sites must agree", "terms-differ", "this site's script", "have all scripts name the same terms"),
    Sign(
        r"do not trust each other|bad signature|unknown issuer",
        "wrong-ca",
        "the CAs of this node or of the SN",
        "give both sides each other's CA (--capath; an operator of a member: swarm organisation admit)",
    ),
    Sign(
        r"rules version|is too old for|newer release",
        "old-version",
        "this node's release",
        "install the release that the network uses (swarm status shows the versions)",
    ),
    Sign(
        r"started again elsewhere|newer incarnation|If its data directory was copied",
        "superseded",
        "this node",
        ("end the other one, or give each a --data-dir of its own: a copied data directory makes two nodes one"),
    ),
    Sign(r"is in quarantine", "quarantine", "this SN", "find out why it sealed such a block; then operators lift it"),
    Sign(
        r"\(other-subject\)",
        "in-use",
        "the data directory",
        "name the certificate of the node it belongs to (--cert, --key), or give this node a --data-dir of its own",
    ),
    Sign(
        r"refuses this node",
        "shut-out",
        "this node's certificate",
        "have a new certificate issued, and see `swarm trust list`: it may be revoked, or its CA retired",
    ),
    Sign(
        r"acquireLicense|Error code : 6002|no license|not available to issue",
        "license",
        "the license server",
        "start it, correct --apls-ip and --apls-port, or have a license of a larger capacity issued",
    ),
    Sign(
        r"chain\.sqlite|block \d+ has been altered|block \d+ is missing",
        "chain-damaged",
        "this SN's chain",
        ("fetch it from the other SNs: swarm sn repair"),
    ),
    Sign(
        r"Unable to contact API-Server|no SN of the network can be reached",
        "silent",
        "the way to the SN",
        _WAY,
    ),
    Sign(r"etcd.* not in PATH|needs etcd", "program-missing", "etcd on this machine", "install it: etcd-server"),
)


def examine_log(file: Path, running: bool, report: Report) -> None:
    """What the log of the last start says of its end, if the node does not run any more."""
    lines = last_start(file)
    if running:
        _examine_way(file, lines, report)
    if running or not lines:
        return
    if dated := _DATED.search(lines[-1]):
        later = "why a later start has ended before it had a log, its command line shows: swarm doctor -- swarm …"
        report.notes.append(f"the log ends at {dated[0]}; {later}")
    ending = next((_message(line) for line in reversed(lines) if ENDING in line), "")
    if ending:
        _explain(ending, report)
        return
    if any(_FAILED in line for line in lines[-20:]):
        _explain_script(lines, report)
        return
    if not any(_STOPPED.search(line) for line in lines[-20:]):
        report.find(
            "killed",
            "this node's process",
            f"its log breaks off: it was killed, or the machine stopped. The last line is: {_shown(lines[-1])}",
            "look for `Out of memory` in the kernel's log (dmesg) and for a restart of the machine; start it again",
        )
        return
    report.fine.append(f"log {file}: the node was stopped in good order")


def _examine_way(file: Path, lines: Sequence[str], report: Report) -> None:
    """Whether a node that runs says, and nothing else, that it cannot reach its SN; or waits for its script."""
    lines = [line for line in lines if _READ not in line]
    if lines and _NO_SCRIPT in lines[-1]:
        report.notes.append(f"no script has connected to this SL, see what the script does: {_shown(lines[-1])}")
    tries = [_CUT_OFF.search(line) for line in lines[-_TRIES:]]
    try:
        fresh = time.time() - file.stat().st_mtime < _FRESH_SECONDS
    except OSError:
        return
    if fresh and len(tries) == _TRIES and (last := tries[-1]) and all(tries):
        report.find("silent", "the way to the SN", f"this node runs, and waits for its SN: {_shown(last[1])}", _WAY)


def last_start(path: Path) -> list[str]:
    """The last lines of a log, from the newest start on; none without a log."""
    try:
        data = read_now(path, Wanted(lines=LINES)).data
    except LogError:
        return []
    lines = [in_text(line) for line in data.decode(errors="replace").splitlines() if line]
    starts = [number for number, line in enumerate(lines) if _START.search(line)]
    return lines[starts[-1] :] if starts else lines


def sign_of(text: str, signs: Sequence[Sign] = SIGNS) -> Sign | None:
    """What a line is a sign of."""
    return next((sign for sign in signs if re.search(sign.pattern, text)), None)


def _message(line: str) -> str:
    """What follows `ENDING` in a line, which may be JSON."""
    text = line.partition(ENDING)[2]
    return text.partition('", "')[0].rstrip('"}') if line.startswith("{") else text


def _explain(ending: str, report: Report) -> None:
    sign = sign_of(ending)
    if sign is None:
        report.find("ended", "this node", f"it ended with: {_shown(ending)}", "do what that message says")
    elif not report.has(sign.code):
        report.find(sign.code, sign.subject, f"this node ended with: {_shown(ending)}", sign.remedy)


def _explain_script(lines: Sequence[str], report: Report) -> None:
    """The node ended since its script failed: its last error says why, if it is the network's; else the exception that
    the script left with, or its output."""
    errors = [line.partition(" : ERROR : ")[2] for line in lines if " : ERROR : " in line and _FAILED not in line]
    sign = sign_of(errors[-1]) if errors else None
    if sign is not None:
        if not report.has(sign.code):
            report.find(sign.code, sign.subject, f"its script was refused: {_shown(errors[-1])}", sign.remedy)
        return
    said = errors or [line.partition(_LEAVES)[2] for line in lines if _LEAVES in line]
    if said:
        text, remedy = (
            f": {_shown(said[-1])}",
            "correct what that message names; its output (of the SL's command) has more",
        )
    else:
        failed = next(line for line in reversed(lines) if _FAILED in line)
        text, remedy = failed.rpartition(_FAILED)[2], "its output (of the SL's command) says why; correct it"
    report.find("ended", "this node's training script", f"has failed, and its node ended with it{text}", remedy)


def _shown(text: str) -> str:
    return displayed(text, LONGEST).rstrip(".")
