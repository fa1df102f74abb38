"""What the doctor makes of an SN's status, of the ledger, and of what nodes say of themselves."""

from typing import Any

import pytest

from support.network import Ledger
from support.organisations import three_organisations
from support.play import Play
from swarmlearning.doctor.findings import Report
from swarmlearning.doctor.hanging import examine_scripts
from swarmlearning.doctor.matrix import Known
from swarmlearning.doctor.network import weigh
from swarmlearning.doctor.sight import (
    examine_answers,
    examine_status,
    examine_structures,
    examine_world,
    nodes_in,
)
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.node.checkup import Answer, Site
from swarmlearning.tensors.structure import Structure
from swarmlearning.views.evidence import Account, Evidence
from swarmlearning.views.times import RoundTimes, Script, Span, Times

NOW = 1_700_000_000_000
NODES = {uid: Known("SL", f"site-{uid}", {}, alive=True) for uid in "abc"}


def status(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "network": "swarm",
        "version": "0.1.0",
        "height": 7,
        "majority": True,
        "fault_tolerance": "3 voters",
        "alarms": [],
        "alerts": [],
        "sns": [],
        "nodes": [node("SN", "SN-1"), node("SL", "site-1")],
        "trainings": [],
    }
    return made | changes


def node(type: str, name: str, state: str = "alive", version: str = "0.1.0") -> dict[str, Any]:
    alive = state == "alive"
    return {
        "uid": name,
        "type": type,
        "name": name,
        "state": state,
        "alive": alive,
        "left": state == "left",
        "version": version,
        "addresses": {},
    }


def alert(code: str, severity: str = "critical", text: str = "something", subject: str = "SL site-1") -> dict[str, Any]:
    return {"code": code, "severity": severity, "subject": subject, "text": text, "remedy": "do something", "nodes": []}


def found(**changes: Any) -> list[tuple[str, str]]:
    report = Report()
    examine_status(status(**changes), report)
    return [(each.code, each.subject) for each in report.ordered]


def test_a_network_in_order_has_one_line() -> None:
    report = Report()
    examine_status(status(), report)
    assert report.wrong == []
    assert report.fine == ["network swarm, height 7: 3 voters"]


@pytest.mark.parametrize(
    ("changes", "code", "subject"),
    [
        ({"majority": False, "sns": [{"name": "SN-2", "present": False}]}, "no-majority", "the SNs"),
        ({"nodes": [node("SL", "site-1", "lost")]}, "node-lost", "SL site-1"),
        ({"nodes": [node("SL", "site-1", "revoked")]}, "revoked", "SL site-1"),
        ({"nodes": [node("SL", "site-1"), node("SL", "site-2", version="0.0.9")]}, "old-version", "SL site-2"),
        ({"alerts": [alert("disk")]}, "disk-full", "SL site-1"),
        ({"alerts": [alert("disk", "warning")]}, "disk-low", "SL site-1"),
        ({"alerts": [alert("memory", "warning")]}, "memory-low", "SL site-1"),
        ({"alerts": [alert("round-waits")]}, "waits", "SL site-1"),
        ({"alerts": [alert("certificate")]}, "expired", "SL site-1"),
        ({"alerts": [alert("sn-fault", text="etcd has raised the alarm NOSPACE")]}, "ledger-space", "the network"),
        ({"alerts": None, "alarms": ["the clock of SL a is 90 s ahead of the SNs'"]}, "clock", "the network"),
        ({"alerts": None, "alarms": ["SN SN-2 is in quarantine: block 7"]}, "quarantine", "the network"),
    ],
)
def test_each_trouble_of_a_network_is_a_finding(changes: dict[str, Any], code: str, subject: str) -> None:
    assert found(**changes) == [(code, subject)]


@pytest.mark.parametrize("each", [alert("survives", "info"), alert("certificate", "warning"), alert("lag", "warning")])
def test_what_is_no_fault_yet_is_a_note(each: dict[str, Any]) -> None:
    report = Report()
    examine_status(status(alerts=[each]), report)
    assert report.wrong == []
    assert report.notes == ["something: do something"]


def test_a_node_that_is_gone_is_told_once() -> None:
    gone = [node("SL", "site-1", "lost")]
    assert found(nodes=gone, alerts=[alert("node-away", "warning")]) == [("node-lost", "SL site-1")]


def training(have: int, *reasons: str, activities: tuple[str, ...] = ("submitted", "left")) -> dict[str, Any]:
    awaited = [{"uid": f"site-{number}", "reason": reason} for number, reason in enumerate(reasons, 2)]
    return {
        "name": "digits",
        "over": False,
        "leader": "",
        "text": "round 7",
        "waiting": {"phase": "collecting", "have": have, "need": 2, "awaited": awaited},
        "activities": {f"site-{number}": activity for number, activity in enumerate(activities, 1)},
    }


@pytest.mark.parametrize(
    ("waits", "wrong"),
    [
        (training(1, "left"), [("waits", "SL site-2")]),
        (training(1, "left", "expected"), []),  # the others can go on
        (training(1, "left", activities=("left", "left")), []),  # it rests
        (training(2, "left"), []),
    ],
)
def test_who_has_left_a_training_that_cannot_go_on_without_is_named(
    waits: dict[str, Any], wrong: list[tuple[str, str]]
) -> None:
    nodes = [node("SN", "SN-1"), node("SL", "site-1"), node("SL", "site-2", "left")]
    assert found(nodes=nodes, trainings=[waits]) == wrong


def test_while_a_training_waits_for_sites_an_sl_without_a_script_is_named() -> None:
    waits = training(1, activities=("submitted",))
    waits["waiting"]["phase"] = "opening"
    nodes = [node("SN", "SN-1"), node("SL", "site-1"), node("SL", "site-2")]
    report = Report()
    examine_status(status(nodes=nodes, trainings=[waits]), report)
    [note] = report.notes
    assert note == "training digits: round 7; no script has connected to site-2: see what the script does there"
    waits |= {"text": "round 7; no script has connected to site-2", "waiting": waits["waiting"] | {"idle": ["site-2"]}}
    report = Report()
    examine_status(status(nodes=nodes, trainings=[waits]), report)
    assert report.notes == [note]
    report = Report()
    examine_status(status(nodes=[*nodes[:2], node("SL", "site-2", "left")], trainings=[waits]), report)
    [note] = report.notes
    assert note.startswith("training digits: round 7; no script has connected to site-2; site-2 left without a session")


def test_a_site_that_states_a_release_from_the_future_makes_nobody_old() -> None:
    """A version is free text that a node registers with; SNs are upgraded first."""
    assert found(nodes=[node("SN", "SN-1"), node("SL", "a"), node("SWOP", "b", version="999.0.0")]) == []
    assert found(nodes=[node("SN", "SN-1", version="0.2.0"), node("SL", "a")]) == [("old-version", "SL a")]


def test_who_has_left_takes_no_part() -> None:
    assert list(nodes_in(status(nodes=[node("SL", "a"), node("SL", "b", "left")]))) == ["a"]


def answers(site: Site | None = None, **ahead: int) -> dict[str, tuple[Answer, int]]:
    return {uid: (Answer("0.1.0", NOW + 1000 * seconds, [], site), 100) for uid, seconds in ahead.items()}


def told(report: Report) -> list[tuple[str, str]]:
    return [(each.code, each.subject) for each in report.ordered]


def test_the_clock_that_differs_from_most_is_at_fault() -> None:
    report = Report()
    examine_answers(answers(a=0, b=120, c=1), {}, NODES, NOW, report)
    assert told(report) == [("clock", "SL site-b")]
    report = Report()
    examine_answers(answers(a=120, b=121, c=122), {}, NODES, NOW, report)
    assert told(report) == [("clock", "this machine's clock")]
    report = Report()
    report.find("clock", "this machine's clock", "differs from that of the SN", "")
    examine_answers(answers(a=0, b=0), {"c": 3600}, NODES, NOW, report)
    assert told(report) == [("clock", "SL site-c")]


@pytest.mark.parametrize(
    ("site", "code"),
    [
        (Site(script="stopped"), "ml-stopped"),
        (Site(gpu="missing"), "no-gpu"),
        (Site(gpu="hidden"), "no-gpu"),
        (Site(license="no answer"), "license"),
    ],
)
def test_what_a_site_says_of_itself_is_a_finding_about_it(site: Site, code: str) -> None:
    report = Report()
    examine_answers(answers(site, a=0), {}, NODES, NOW, report)
    assert told(report) == [(code, "SL site-a")]


@pytest.mark.parametrize(("idle_ms", "named"), [(29_000, False), (125_000, True)])
def test_a_script_that_trains_no_batch_while_a_round_waits_for_it_is_a_finding(idle_ms: int, named: bool) -> None:
    play = Play("a", "b", min_peers=2)
    play.complete_round("a", "b")
    begun_ms = play.round.opened_ms
    script = Script(900, idle_ms, left=40, batches_per_second=3.1)
    record = RoundTimes(play.state.name, play.state.run, play.round.number, begun_ms, (Span("train", 0),))
    accounts = {uid: Account(Times(begun_ms + 140_000, record, script)) for uid in "ab"}
    report = Report()
    examine_scripts(Evidence(Chain().world, play.state, None, begun_ms + 140_000, accounts), report)
    assert told(report) == ([("ml-hangs", "SL a"), ("ml-hangs", "SL b")] if named else [])
    if named:
        assert report.wrong[0].text == (
            f"holds training {play.state.name} up: Round 1 has waited 2 min 20 s for a: its ML process has trained no "
            "batch for 2 min 5 s (before that 3.1 a second), with 40 to go"
        )
    report.find("ml-stopped", "SL a", "is stopped", "")
    weigh(report, {}, {})
    assert told(report)[1:] == ([("ml-hangs", "SL b")] if named else [])


def test_it_is_said_where_two_models_differ() -> None:
    report = Report()
    ours = Structure((("fc.weight", "F32", (10, 64)),))
    theirs = Structure((("fc.weight", "F32", (10, 128)),))
    examine_structures(ours, {"SL site-1": theirs}, report)
    assert "'fc.weight' has shape [10, 64], expected [10, 128]" in report.wrong[0].text
    report = Report()
    examine_structures(ours, {"SL site-1": Structure(tuple(ours.specs))}, report)
    examine_structures(None, {"SL site-1": theirs}, report)
    assert report.wrong == []
    frozen = ours._replace(roles={"fc.weight": "frozen"})
    examine_structures(frozen, {"SL site-1": ours._replace(roles={"fc.weight": "parameter"})}, report)
    assert "'fc.weight' is frozen, expected parameter" in report.wrong[0].text


def test_a_site_that_nobody_can_find_is_named() -> None:
    ledger: Ledger = three_organisations()
    for number, addresses in ((1, {"fs": "10.0.0.1:1"}), (2, {"fs": "10.0.0.9:1", "relay": "10.0.0.9:1"})):
        ledger.send(f"sl-{number}", Announce(addresses), network.CONTRACT)
    report = Report()
    examine_world(ledger.chain.world, report)
    assert told(report) == [("no-way-in", "sl-2"), ("no-way-in", "sl-3")]
    assert "10.0.0.9:1, which no SN offers any more" in report.wrong[0].text
