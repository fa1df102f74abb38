"""What an SN's status, the verified ledger and the nodes' own words say is wrong. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from swarmlearning import __version__
from swarmlearning.doctor.findings import Report
from swarmlearning.doctor.matrix import Known, Nodes, called
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.taskrunner import taskrunners
from swarmlearning.ledger.world import World
from swarmlearning.node.checkup import Answer
from swarmlearning.node.sources import RELAY, source_of
from swarmlearning.tensors.structure import Structure, describe_difference, describe_roles
from swarmlearning.views.alerts.rounds import IN_TIME
from swarmlearning.views.names import displayed, name_of, node_names
from swarmlearning.views.render import listed
from swarmlearning.views.taskrunners import failures, peer_views, waits_for

LONGEST: Final = 600
CLOCK_SECONDS: Final = 30
"""Beyond it a node acts late, or early; the time that its answer takes is part of what is seen."""

HERE_CLOCK: Final = "this machine's clock"

ALARMS: Final = (
    (r"^the clock of", "clock", "set that node's clock right (NTP)"),
    (r"is in quarantine", "quarantine", "find out why; then operators lift it: swarm node lift-quarantine"),
    (r"NOSPACE|etcd holds|quota|space|compact", "ledger-space", "make room on the SNs' disks; see docs/year.md"),
    (r"no majority of voters", "no-majority", "start the SNs that are missing"),
    (r"is a voter and does not run", "node-lost", "start that SN again, or another one, which then replaces it"),
)
"""Patterns of an SN's alarms, the codes of their findings, and what to do."""


def nodes_in(status: Mapping[str, Any]) -> dict[str, Known]:
    """The nodes that take part, by UID."""
    return {
        each["uid"]: Known(each["type"], displayed(each["name"]), each["addresses"], each["alive"])
        for each in status["nodes"]
        if not each["left"]
    }


def examine_status(status: Mapping[str, Any], report: Report) -> None:
    """What the SN that was asked says of the network."""
    if status["majority"] is False:
        missing = [each["name"] for each in status["sns"] if each["present"] is False]
        named = f" ({', '.join(map(displayed, missing))} missing)" if missing else ""
        report.find(
            "no-majority",
            "the SNs",
            f"no majority of the voters answers, so nothing can be written{named}",
            "start the missing SNs; only if they are lost for good: stop this one and run `swarm sn recover`",
        )
    _examine_nodes(status, report)
    _examine_trainings(status, report)
    if (alerts := status.get("alerts")) is None:  # of an SN of an earlier release
        for alarm in status["alarms"]:
            _examine_alarm(displayed(alarm, LONGEST), report)
    else:
        for alert in alerts:
            _examine_alert(alert, report)
    if not report.wrong:
        report.fine.append(
            f"network {displayed(status['network'])}, height {status['height']}: "
            f"{displayed(status['fault_tolerance'], LONGEST)}"
        )


ALERTS: Final = {
    "no-majority": "no-majority",
    "quarantine": "quarantine",
    "clock": "clock",
    "disk": "disk-low",
    "memory": "memory-low",
    "certificate": "expired",
    "voter-away": "node-lost",
    "node-away": "node-lost",
    "round-waits": "waits",
    "left-out": "waits",
}
"""The codes of the findings that alerts are (`views/alerts`); others are known by their text."""
MERE: Final = frozenset(("certificate", "lag"))
"""Alerts that are no faults yet while they are only warnings."""


def _examine_alert(alert: Mapping[str, Any], report: Report) -> None:
    code, subject = str(alert["code"]), displayed(alert["subject"], LONGEST)
    text, remedy = displayed(alert["text"], LONGEST), displayed(alert["remedy"], LONGEST)
    if alert["severity"] == "info" or (code in MERE and alert["severity"] != "critical"):
        report.notes.append(f"{text}: {remedy}" if remedy else text)
        return
    name = subject.partition(" ")[2] or subject
    found = "disk-full" if code == "disk" and alert["severity"] == "critical" else ALERTS.get(code, "")
    if not found:
        _examine_alarm(text, report)
    elif not any(each.code in (found, "leader-lost") and name in each.subject for each in report.wrong) and not (
        found == "no-majority" and report.has(found)
    ):
        report.find(found, subject, text, remedy)


def _examine_alarm(alarm: str, report: Report) -> None:
    for pattern, code, remedy in ALARMS:
        if re.search(pattern, alarm):
            if not (code == "no-majority" and report.has(code)):
                report.find(code, "the network", alarm, remedy)
            return
    report.find("alarm", "the network", alarm, "see docs/watch.md")


def _examine_nodes(status: Mapping[str, Any], report: Report) -> None:
    leaders = {each["leader"] for each in status["trainings"] if not each["over"]}
    for each in status["nodes"]:
        name, state = called(displayed(each["type"]), displayed(each["name"])), each["state"]
        if state == "revoked":
            text = "its certificate is revoked, so everybody refuses it"
            remedy = "if it is to take part again: issue it a new certificate, and start it with that"
            if not each["left"] or each["type"] != "SN":
                report.find("revoked", name, text, remedy)
        elif state == "lost" and each["type"] in ("SN", "SL", "SWOP"):
            if displayed(each["name"]) in {displayed(leader or "") for leader in leaders}:
                text = "leads the round in progress, and is gone: another site takes over when its time is up"
                report.find("leader-lost", name, text, "start it again; look at its log, or run swarm doctor there")
            else:
                text = "is gone: its lease has ended without a word, so its process or its host is down, or cut off"
                report.find("node-lost", name, text, "start it again, or run swarm doctor --data-dir … on its host")
    _examine_versions(status, report)


def _examine_versions(status: Mapping[str, Any], report: Report) -> None:
    """Nodes of an older release than an SN runs: these are upgraded first, and an SL's or SWOP's word alone makes
    nobody old."""
    nodes = [each for each in status["nodes"] if each["alive"] and each["type"] in ("SN", "SL", "SWOP")]
    sns = [each for each in nodes if each["type"] == "SN"]
    newest = max(_number(each["version"]) for each in (status, *sns))
    for each in nodes:
        if _number(each["version"]) < newest:
            name = called(displayed(each["type"]), displayed(each["name"]))
            shown = ".".join(map(str, newest))
            text = f"runs version {displayed(each['version'])}, and others {shown}"
            report.find("old-version", name, text, f"install {shown} there, and start it again (SNs first)")
    if _number(__version__) < newest:
        report.notes.append(f"this command is of version {__version__}, the network has {'.'.join(map(str, newest))}")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]{1,9}", version.partition("+")[0])[:3])


def _examine_trainings(status: Mapping[str, Any], report: Report) -> None:
    for each in status["trainings"]:
        name, text = displayed(each["name"]), displayed(each["text"], LONGEST)
        reasons = {awaited["reason"] for awaited in each["waiting"]["awaited"]}
        if "ml-lost" in reasons:
            remedy = "start its script again beside its SL; its output says why it has ended"
            report.find("waits", f"training {name}", text, remedy)
        elif "other-terms" in reasons:
            remedy = "have all scripts name the same terms (minPeers, syncFrequency, model)"
            report.find("terms-differ", f"training {name}", text, remedy)
        elif gone := _missing(each):
            names = {one["uid"]: called(displayed(one["type"]), displayed(one["name"])) for one in status["nodes"]}
            remedy = "start it again; on its host swarm doctor --data-dir … says why it has ended"
            report.find(
                "waits", listed([names.get(uid, uid) for uid in gone]), f"has left training {name}: {text}", remedy
            )
        elif not each["over"]:
            rest = _idle(status, each) if each["waiting"]["phase"] == "opening" else "; swarm explain says what they do"
            report.notes.append(f"training {name}: {text}{rest}")


def _idle(status: Mapping[str, Any], waiting_one: Mapping[str, Any]) -> str:
    """The SLs that are in no training. Of those that run, a script is late, stands still, or names another SL (the text
    of a training says that, but for an SN of an earlier release); of those that have left, it may have been refused."""
    busy = {uid for training in status["trainings"] for uid in training["activities"]}
    sls = [each for each in status["nodes"] if each["type"] == "SL" and each["uid"] not in busy]
    running = [displayed(each["name"]) for each in sls if each["alive"]]
    left = [displayed(each["name"]) for each in sls if each["left"]]
    text = f"; no script has connected to {listed(running)}" * (bool(running) and "idle" not in waiting_one["waiting"])
    text += ": see what the script does there" * bool(running)
    ended = f"; {listed(left)} left without a session: swarm doctor --data-dir … says why on that host"
    return text + ended * bool(left)


def _missing(training: Mapping[str, Any]) -> list[str]:
    """The UIDs of the sites that have left a training which the others cannot go on with, however long they wait."""
    waiting = training["waiting"]
    left = [each["uid"] for each in waiting["awaited"] if each["reason"] == "left"]
    hoped = sum(each["reason"] in IN_TIME for each in waiting["awaited"])
    deserted = all(activity == "left" for activity in training["activities"].values())
    return [] if training["over"] or deserted or waiting["have"] + hoped >= waiting["need"] else left


def examine_world(world: World, report: Report) -> None:
    """What the ledger says of sites that nobody can find, and of tasks that wait for somebody's answer, or have
    failed."""
    _examine_addresses(world, report)
    for runner in taskrunners(world):
        name = f"task {displayed(runner.assignment.task) if runner.assignment else ''} at {displayed(runner.name)}"
        asking = [each for each in peer_views(world, runner) if each.state == "awaiting-approval"]
        if runner.assignment is None or runner.assignment.aborted:
            continue
        for each in asking:
            subject = f"the policy of SWOP {each.name} ({each.organisation})"
            remedy = f"its operator answers there: {each.description.partition(': ')[2]} (or changes the policy file)"
            report.find("awaiting-approval", subject, f"does not allow {name} by itself, so it waits", remedy)
        if runner.state == "ERROR" or failures(world, runner):
            report.find("task-failed", name, failures(world, runner) or "has failed", "see swarm logs of that pair")
        elif (text := waits_for(world, runner)) and not asking:
            report.notes.append(f"{name}: {text}")


def _examine_addresses(world: World, report: Report) -> None:
    """SLs at work that have announced no address, or a relay that is none any more."""
    names = node_names(world)
    for known in network.nodes(world):
        if known.type != "SL" or known.left or not known.alive or source_of(world, known.uid) is not None:
            continue
        name, relay = called("SL", name_of(names, known.uid)), known.addresses.get(RELAY, "")
        if relay:
            text = f"is reached through the relay {displayed(relay)}, which no SN offers any more"
        else:
            text = "has announced no address at which others fetch its models: it waits for a relay, and no SN is one"
        remedy = "start an SN with --sn-relay-port; or the SL without --relay, where others can connect to it"
        report.find("no-way-in", name, text, remedy)


def examine_answers(
    answers: Mapping[str, tuple[Answer, int]], apart: Mapping[str, int], nodes: Nodes, now_ms: int, report: Report
) -> None:
    """What nodes say of themselves; each answer with the milliseconds that it took, of which `now_ms` is the end.

    `apart`: the nodes that do not answer since their clock and this one are so many seconds apart.
    """
    ahead = {uid: (answer.time_ms - now_ms) // 1000 for uid, (answer, _) in answers.items()}
    wrong = {uid: off for uid, off in ahead.items() if abs(off) > CLOCK_SECONDS + answers[uid][1] // 1000}
    told = {uid: f"{abs(off)} s {'ahead' if off > 0 else 'behind'}" for uid, off in wrong.items()}
    told |= {uid: f"{seconds} s off" for uid, seconds in apart.items()}
    heard = len(answers) + len(apart)
    if len(told) > 1 and 2 * len(told) > heard:
        text = f"differs from that of {len(told)} of {heard} nodes: as they see it, they are {', '.join(told.values())}"
        report.drop("clock", subject=HERE_CLOCK)
        report.find("clock", HERE_CLOCK, text, "set it right (NTP)")
        told = {}
    elif told and heard > 2:  # most agree with this machine: it is not its clock that differs from the SN's
        report.drop("clock", subject=HERE_CLOCK)
    for uid, text in sorted(told.items()):
        name = nodes[uid].shown
        report.drop("clock", subject=name)
        report.find("clock", name, f"its clock is {text}", "set it right there (NTP: timedatectl set-ntp true)")
    for uid, (answer, _) in sorted(answers.items()):
        if answer.site is not None:
            _examine_site(nodes[uid], answer, report)
    if answers:
        report.fine.append(f"{len(answers)} nodes have answered for themselves")


def _examine_site(known: Known, answer: Answer, report: Report) -> None:
    site = answer.site
    assert site is not None
    if site.script == "stopped":
        text = "its training script (ML process) is stopped (SIGSTOP, Ctrl-Z, a debugger or a paused container)"
        report.find("ml-stopped", known.shown, text, "let it go on there: kill -CONT its process, or unpause it")
    if site.gpu == "missing":
        text = "its script was told to use a GPU (CUDA_VISIBLE_DEVICES), and none is visible there"
        remedy = "give the host or container its GPU (driver, `--gpus`, devices in the SWOP's profile), or unset it"
        report.find("no-gpu", known.shown, text, remedy)
    elif site.gpu == "hidden":
        text = "its host has a GPU that its script does not see: CUDA_VISIBLE_DEVICES hides it"
        report.find("no-gpu", known.shown, text, "unset it, or name the GPU (`gpus` in the SWOP's profile)")
    elif site.gpu == "unused":
        report.notes.append(f"{known.shown}: its host has a GPU, and its script does not use it")
    if site.license:
        text = f"its license is not renewed: {displayed(site.license, LONGEST)}"
        report.find("license", known.shown, text, "start the license server, or open the way to it")


def examine_structures(own: Structure | None, others: Mapping[str, Structure], report: Report) -> None:
    """Where the model of this node's script differs from that of others (by the names to show)."""
    for name, other in sorted(others.items()):
        if own is None:
            return
        if difference := describe_difference(other.specs, own.specs) or describe_roles(other.roles, own.roles):
            report.drop("model-differs")  # as the log has it, which does not know where
            report.find(
                "model-differs",
                "the model of this node's script",
                f"is not that of {name}: {displayed(difference, LONGEST)}",
                "make the same model at all sites: same layers, names, shapes and dtypes, same versions of the script",
            )
            return
