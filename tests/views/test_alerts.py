"""Alerts: tables of facts and what an operator is told of them; each beside what is just short of one."""

from typing import Any, get_args

import msgspec
import pytest

from support.alerting import MINUTE, SITES, VOTERS, facts, found, four_sites, lose, submit, usually, without
from support.network import CONTRACT, Ledger, session
from swarmlearning.identity.ca import issue
from swarmlearning.ledger.bodies import Freeze, Leave, Receipt, Register
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Result, Training
from swarmlearning.views.alerts import Alert, Facts, Heard, Ordering, Standing, alerts, worst
from swarmlearning.views.alerts.nodes import GIB
from swarmlearning.views.alerts.rounds import REMEDIES
from swarmlearning.views.pace import Lately
from swarmlearning.views.render import DAY_MS, HOUR_MS
from swarmlearning.views.training import Reason
from swarmlearning.views.vitals import Vitals


@pytest.fixture(scope="module")
def quiet() -> Ledger:
    """The same for all tests that add nothing to it."""
    return four_sites()


@pytest.fixture
def ledger() -> Ledger:
    return four_sites()


def test_a_network_where_all_is_well_has_only_what_it_survives(ledger: Ledger) -> None:
    submit(ledger, "site-1")
    known = facts(ledger, after_ms=119_000, lately=usually(10))
    assert found(known) == []
    assert [each.text for each in alerts(known)] == [
        "any 1 of the 3 running SNs may fail",
        f"training {CONTRACT}: any 1 of its 4 sites may fail",
    ]
    assert worst(alerts(known)) == worst([]) == "info"


# --- rounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usual_s", "after_ms", "severity"),
    [
        (10, 2 * MINUTE - 1, None),
        (10, 2 * MINUTE, "warning"),
        (10, 8 * MINUTE, "critical"),
        (60, 5 * MINUTE - 1, None),
        (60, 5 * MINUTE, "warning"),
        (3600, 5 * HOUR_MS - 1, None),
        (None, HOUR_MS - 1, None),
        (None, HOUR_MS, "warning"),
    ],
)
def test_a_round_is_named_once_it_takes_far_longer_than_its_own_past_makes_plausible(
    ledger: Ledger, usual_s: int | None, after_ms: int, severity: str | None
) -> None:
    submit(ledger, "site-1", "site-3")
    lately = {} if usual_s is None else usually(usual_s)
    shown = found(facts(ledger, after_ms, lately=lately), "round-waits")
    assert [each.severity for each in shown] == ([severity] if severity else [])
    for each in shown:
        assert each.nodes == ("site-2", "site-4")
        assert "site-2 (has not sent its model yet), site-4 (has not sent its model yet) in round 0" in each.text
        assert "2 models in, minPeers 3" in each.text
        assert ledger.training.round is not None
        assert each.since_ms == ledger.training.round.opened_ms


def test_a_round_that_cannot_go_on_without_a_site_that_is_lost_is_an_alarm_after_two_minutes(ledger: Ledger) -> None:
    submit(ledger, "site-1")
    ledger.clock += 5 * MINUTE
    lose(ledger, "site-2", "site-4")
    lost_ms = max(ledger.training.members[site].since_ms for site in ("site-2", "site-4"))
    after = (29_999, 30_000, 119_999, 120_000)
    none, soon, early, late = (facts(ledger, now_ms=lost_ms + each, lately=usually(3600)) for each in after)
    assert found(none, "round-waits") == []
    assert [each.severity for known in (soon, early) for each in found(known, "round-waits")] == ["warning"] * 2
    [shown] = found(late, "round-waits")
    assert (shown.severity, shown.since_ms) == ("critical", lost_ms)
    assert "waited for 2 min (its rounds take about 60 min) for site-2 (lost since 20" in shown.text
    assert str(shown).endswith("site-2: check its process, its host and its network, then start it again")
    assert [each.subject for each in found(late, "node-away")] == ["SL site-2", "SL site-4"]


def test_a_merge_that_takes_too_long_names_the_leader(ledger: Ledger) -> None:
    submit(ledger, "site-1", "site-2", "site-3")
    current = ledger.training.round
    assert current is not None
    ledger.send(current.leader, Freeze(0, 0))
    [shown] = found(facts(ledger, 3 * MINUTE, lately=usually(5)), "round-waits")
    assert f"for {current.leader}, which merges 3 models in round 0" in shown.text
    assert shown.nodes == (current.leader,)


def test_a_training_that_waits_for_sites_to_begin_is_named_after_an_hour() -> None:
    ledger = Ledger()
    ledger.join("site-1")
    ledger.send("site-1", session(min_peers=3))
    opened_ms = ledger.training.members["site-1"].since_ms
    times = (opened_ms + HOUR_MS - 1, opened_ms + HOUR_MS)
    early, late = (facts(ledger, now_ms=now_ms, ordering=Ordering()) for now_ms in times)
    assert found(early) == []
    [shown] = found(late)
    assert "for 2 more sites to begin: 1 of 3 sessions are open" in shown.text


def test_a_round_that_waits_for_a_site_which_has_left_is_a_warning_before_it_is_an_alarm(ledger: Ledger) -> None:
    submit(ledger, "site-1")
    for site in ("site-2", "site-4"):
        ledger.send(site, Leave(), network.CONTRACT)
    left_ms = max(ledger.training.members[site].since_ms for site in ("site-2", "site-4"))
    shown = {after: found(facts(ledger, now_ms=left_ms + after), "round-waits") for after in (29_999, 30_000, 120_000)}
    assert [[each.severity for each in some] for some in shown.values()] == [[], ["warning"], ["critical"]]
    assert "waited for 30 s for site-2 (left since 20" in shown[30_000][0].text
    assert shown[30_000][0].remedy == "site-2: its SL has left: start SL and script again"
    assert shown[30_000][0].nodes == ("site-2", "site-4", "site-3")


def test_an_sl_to_which_no_script_connects_is_named_while_others_wait_for_it() -> None:
    ledger = Ledger()
    for site in ("site-1", "site-2"):
        ledger.join(site)
    ledger.send("site-1", session(min_peers=2))
    opened_ms = ledger.training.members["site-1"].since_ms
    times = (opened_ms + 5 * MINUTE - 1, opened_ms + 5 * MINUTE)
    early, late = (facts(ledger, now_ms=now_ms, ordering=Ordering()) for now_ms in times)
    assert found(early) == []
    [shown] = found(late)
    assert (shown.code, shown.severity, shown.nodes) == ("round-waits", "warning", ("site-2",))
    assert shown.text.endswith("for 1 more site to begin: 1 of 2 sessions are open; no script has connected to site-2")
    assert shown.remedy == "see the output of the scripts there"
    ledger.send("site-2", session(min_peers=2))
    assert found(facts(ledger, ordering=Ordering())) == []


def test_a_training_that_all_its_sites_have_left_rests_which_is_no_alarm(ledger: Ledger) -> None:
    for site in SITES:
        ledger.send(site, Leave(), network.CONTRACT)
    known = facts(ledger, 9 * HOUR_MS, heard={sn: Heard() for sn in VOTERS})
    assert found(known) == []
    [shown] = [each for each in alerts(known) if each.code == "at-rest"]
    assert f"swarm contract reset {CONTRACT} --force" in shown.remedy


def test_where_all_sites_are_lost_the_training_may_be_ended_too(ledger: Ledger) -> None:
    lose(ledger, *SITES)
    [shown] = found(facts(ledger, 9 * HOUR_MS), "round-waits")
    assert shown.severity == "critical"
    assert shown.remedy.endswith(f"swarm contract reset {CONTRACT} --force")


def test_there_is_a_remedy_for_every_reason_for_which_a_training_waits() -> None:
    assert set(REMEDIES) == set(get_args(Reason))


@pytest.mark.parametrize("usual_s", [1, 3600])
def test_a_round_that_nobody_may_lead_is_named_after_two_minutes(usual_s: int) -> None:
    ledger = Ledger()
    for site in SITES[:2]:
        ledger.join(site)
        ledger.send(site, session(min_peers=2, may_lead=False))
    times = (2 * MINUTE - 1, 2 * MINUTE)
    early, late = (facts(ledger, after, ordering=Ordering(), lately=usually(usual_s)) for after in times)
    assert found(early) == []
    [shown] = found(late)
    assert (shown.code, shown.severity) == ("round-waits", "critical")
    assert "for a leader in round 0: no member can lead" in shown.text


@pytest.mark.parametrize(("missed", "named"), [(2, False), (3, True)])
def test_a_site_that_is_left_out_of_round_after_round_is_named(quiet: Ledger, missed: int, named: bool) -> None:
    seen = dict.fromkeys(SITES, (4, 20)) | {"site-3": (1, 20 - missed)}
    shown = found(facts(quiet, lately={CONTRACT: Lately(1, 20, (), seen)}), "left-out")
    assert [(each.subject, each.nodes) for each in shown] == ([("site-3", ("site-3",))] if named else [])
    assert not named or f"site-3 has not contributed to the last {missed} rounds of training" in shown[0].text


# --- nodes ----------------------------------------------------------------------------------------------------------


def of_site(ledger: Ledger, **said: Any) -> Facts:
    known = facts(ledger)
    assert known.heard is not None
    ahead_ms = said.pop("ahead_ms", 0)
    return facts(ledger, heard={**known.heard, "site-1": Heard(0, ahead_ms, Vitals(**said))})


@pytest.mark.parametrize(
    ("free", "total", "severity"),
    [
        (19 * GIB, 200 * GIB, "warning"),
        (20 * GIB, 200 * GIB, None),
        (99 * GIB, 10_000 * GIB, None),
        (5 * GIB, 40 * GIB, None),
        (3 * GIB, 40 * GIB, "warning"),
        (GIB - 1, 2 * GIB, "critical"),
        (0, GIB, "critical"),
        (0, 0, None),
        (None, None, None),
    ],
)
def test_a_disk_that_fills_is_named(quiet: Ledger, free: int, total: int, severity: str | None) -> None:
    shown = found(of_site(quiet, disk_free=free, disk_total=total))
    assert [(each.code, each.severity, each.subject) for each in shown] == (
        [("disk", severity, "SL site-1")] if severity else []
    )


def test_a_disk_on_which_the_next_model_does_not_fit_is_named(quiet: Ledger) -> None:
    entry = f"training/{CONTRACT}"
    state = quiet.chain.world.get(entry, Training)
    assert state is not None
    assert state.round is not None
    result = Result("0" * 64, 30 * GIB, "site-1", Receipt("mean", (), ()), state.round, (), (), {}, paced=False)
    world = quiet.chain.world.with_entries({entry: msgspec.structs.replace(state, result=result)})
    known = of_site(quiet, disk_free=29 * GIB, disk_total=100 * GIB)
    [shown] = found(msgspec.structs.replace(known, world=world), "disk")
    assert shown.severity == "critical"
    assert "SL site-1 has 31 GB of 107 GB left on the disk of its data directory, and a model has 32 GB" in shown.text


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"clock_ms": 2_000}, None),
        ({"clock_ms": 2_400, "clock_error_ms": 400}, None),
        ({"clock_ms": 2_401, "clock_error_ms": 400}, "the clock of SL site-1 is 2.4 s ahead of the SNs'"),
        ({"clock_ms": -61_000}, "the clock of SL site-1 is 61 s behind the SNs'"),
        ({"ahead_ms": 5_000}, None),
        ({"ahead_ms": 5_001, "clock_ms": 0}, "the clock of SL site-1 is 5.0 s ahead of the SNs'"),
    ],
)
def test_a_clock_that_is_off_is_named(quiet: Ledger, said: dict[str, int], text: str | None) -> None:
    shown = found(of_site(quiet, **said))
    assert [each.text for each in shown] == ([text] if text else [])
    assert all(str(each).endswith(": set it right (NTP)") for each in shown)


@pytest.mark.parametrize(("free", "named"), [(5, False), (4, True)])
def test_memory_that_runs_out_is_named(quiet: Ledger, free: int, named: bool) -> None:
    shown = found(of_site(quiet, memory_free=free * 10**8, memory_total=10**10))
    assert [each.code for each in shown] == (["memory"] if named else [])


def test_vitals_of_a_node_that_is_gone_are_not_looked_at(ledger: Ledger) -> None:
    ledger.send("site-1", Leave(), network.CONTRACT)
    assert found(of_site(ledger, disk_free=0, disk_total=GIB)) == []


@pytest.mark.parametrize(
    ("days", "left_ms", "severity"),
    [
        (365, 30 * DAY_MS + 1, None),
        (365, 30 * DAY_MS, "warning"),
        (365, 7 * DAY_MS, "critical"),
        (365, -1, "critical"),
        (1, 8 * HOUR_MS + 300_000, None),
        (1, 8 * HOUR_MS - 300_000, "warning"),
        (1, 2 * HOUR_MS, "critical"),
    ],
)
def test_a_certificate_is_named_before_it_expires_and_a_short_lived_one_late_in_its_life(
    ledger: Ledger, days: int, left_ms: int, severity: str | None
) -> None:
    actor = ledger.actor("site-9", "SL")
    actor.pair = issue(ledger.authority, "SL-site-9", [], [], days)
    ledger.register("site-9")
    ends_ms = int(actor.pair.certificate.not_valid_after_utc.timestamp() * 1000)
    shown = [each for each in found(facts(ledger, now_ms=ends_ms - left_ms), "certificate") if each.subject == "site-9"]
    assert [(each.severity, each.nodes) for each in shown] == ([(severity, ("site-9",))] if severity else [])


def test_names_of_others_are_escaped(ledger: Ledger) -> None:
    ledger.actor("evil", "SL")
    ledger.send("evil", Register("SL", "a\ue000b", ledger.actors["evil"].pem, "0", 1), network.CONTRACT)
    lose(ledger, "evil")
    [shown] = found(facts(ledger), "node-away")
    assert shown.subject == "SL a\\ue000b"


# --- ordering -------------------------------------------------------------------------------------------------------


def test_a_voter_that_is_away_is_critical_only_where_no_other_may_fail(ledger: Ledger) -> None:
    known = facts(ledger)
    three = facts(ledger, heard=without(known, "sn-3"))
    assert [(each.code, each.severity, each.nodes) for each in found(three)] == [("voter-away", "critical", ("sn-3",))]
    ledger.join("sn-4", "SN")
    ledger.join("sn-5", "SN")
    five = Ordering(alone=False, voters=(*VOTERS, "sn-4", "sn-5"))
    known = facts(ledger, ordering=five)
    known = msgspec.structs.replace(known, heard=without(known, "sn-3"))
    assert [(each.code, each.severity) for each in found(known)] == [("voter-away", "warning")]


def test_a_missing_majority_and_faults_of_the_sn_are_critical(quiet: Ledger) -> None:
    ordering = Ordering(alone=False, majority=False, faults=("", "etcd: no space\x1b[2J"))
    shown = found(facts(quiet, heard=None, ordering=ordering))
    assert [(each.code, each.severity) for each in shown] == [("no-majority", "critical"), ("sn-fault", "critical")]
    assert shown[1].text == "etcd: no space\\x1b[2J"


@pytest.mark.parametrize(("height", "named"), [(36, True), (37, False)])
def test_an_sn_that_lags_is_named(quiet: Ledger, height: int, named: bool) -> None:
    known = facts(quiet, ordering=Ordering(alone=False, voters=VOTERS, due_height=100))
    heard = dict.fromkeys(("sn-1", "sn-3"), Heard(100)) | {"sn-2": Heard(height)}
    shown = found(msgspec.structs.replace(known, heard=heard), "lag")
    assert [each.subject for each in shown] == (["sn-2"] if named else [])


def test_a_node_that_is_no_sn_finds_what_the_ledger_shows(ledger: Ledger) -> None:
    lose(ledger, "site-2")
    known = facts(ledger, heard=None, ordering=None)
    assert [each.code for each in found(known)] == ["node-away"]


# --- since when -----------------------------------------------------------------------------------------------------


def test_an_alert_without_a_time_stands_since_it_was_first_found_without_a_pause() -> None:
    standing = Standing()
    disk, clock = (Alert(code, "warning", "SL a", "", "") for code in ("disk", "clock"))
    assert [each.since_ms for each in standing.dated([disk], 10)] == [10]
    assert [each.since_ms for each in standing.dated([disk, clock, disk.since(7)], 20)] == [7, 20, 7]
    assert standing.dated([], 30) == []
    assert [each.since_ms for each in standing.dated([disk], 40)] == [40]
