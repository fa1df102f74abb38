"""All runs of a ledger as people see them: past ones too, with what was noted, and charts of bounded size."""

import csv
import io
import tracemalloc

import pytest

from support.network import CONTRACT, Ledger, session
from support.operations import CA_1, Operations, listening
from support.rounds import SITES, finish, merge_again, publish, report_all, submit, three_sites
from swarmlearning.ledger.bodies import (
    AnnotateRun,
    CreateContract,
    HideRun,
    Lost,
    Origin,
    Pair,
    ReportPerformance,
    Reset,
    TagRun,
)
from swarmlearning.ledger.history import steps
from swarmlearning.views.records import (
    ABSENT,
    CONTRIBUTED,
    EXCLUDED,
    LATE,
    LOST,
    REPEATED,
    REPORTED,
    UNKNOWN,
    WITHHELD,
    Column,
    RunRecord,
)
from swarmlearning.views.report import Recorder
from swarmlearning.views.runcharts import compare, letter, run_charts, runs_table, thinned
from swarmlearning.views.runs import UnknownRunError, run_key, run_list, run_view, summary_of


def recorder_of(ledger: Ledger) -> Recorder:
    made = Recorder()
    for step in steps(ledger.blocks):
        made.add(step)
    return made


def measured(ledger: Ledger, site: str, loss: float | None, metric: float | None = None, epochs: int = 1) -> None:
    ledger.send(site, ReportPerformance(ledger.training.rounds - 1, loss, metric, epochs, 9))


@pytest.fixture
def two_runs() -> Ledger:
    """Run 1 is over after 2 rounds, the first without site-3; of run 2 a round is in progress."""
    made = three_sites()
    made.join("op", "UI")
    made.send("sn-1", Lost("site-3", 1), "network")
    submit(made, *SITES[:2])
    publish(made, "1" * 64)
    measured(made, "site-1", 0.5, 0.8)
    measured(made, "site-2", 0.7, 0.6, epochs=2)
    made.actors["site-3"].incarnation += 1
    made.register("site-3")
    made.send("site-3", session(min_peers=2))
    measured(made, "site-3", None)
    finish(made, "2" * 64)
    measured(made, "site-1", 0.25)
    made.send("op", Reset(forced=True))
    for site in SITES:
        made.send(site, session(min_peers=2, sync_frequency=16))
    return made


# --- runs -------------------------------------------------------------------------------------------------------------


def test_past_runs_stay_with_their_results_after_the_reset(two_runs: Ledger) -> None:
    second, first = run_list(recorder_of(two_runs))
    assert (first.id, first.state, first.rounds, first.model) == (f"{CONTRACT}/1", "over", 2, "2" * 64)
    assert (first.loss, first.metric) == (0.25, None)
    assert first.best is not None
    assert (first.best.round, first.best.sites) == (0, 2)
    assert first.best.metric == pytest.approx(0.7)
    assert (first.sites, first.organisations) == (tuple(SITES), ("org-1",))
    assert first.begun_ms is not None
    assert first.ended_ms is not None
    assert (second.state, second.rounds, second.ended_ms, second.best) == ("running", 0, None, None)
    assert (first.parameters.sync_frequency, second.parameters.sync_frequency) == ("8", "16")


def test_a_run_that_is_reset_before_its_end_ends_then(two_runs: Ledger) -> None:
    two_runs.send("op", Reset(forced=True))
    run = summary_of(recorder_of(two_runs), CONTRACT, 2)
    assert (run.state, run.ended_ms) == ("reset", two_runs.chain.time_ms)


def test_a_site_is_shown_with_the_rounds_that_it_took_part_in_and_its_latest_measures(two_runs: Ledger) -> None:
    sites = run_view(recorder_of(two_runs), CONTRACT, 1).sites
    assert [(each.name, each.contributed, each.missed, each.loss, each.metric) for each in sites] == [
        ("site-1", 2, 0, 0.25, 0.8),
        ("site-2", 2, 0, 0.7, 0.6),
        ("site-3", 1, 1, None, None),
    ]


def test_a_run_names_its_task_and_for_whom_that_was_assigned() -> None:
    made: Operations = listening()
    made.ledger.join("sl-9", "SL", CA_1)
    made.assign("run", 1).carry_out("swop-1", "enrolled")
    made.report("swop-1", "running", pairs=(Pair(0, "sl-9", "running"),))
    assignment = made.runner.assignment
    assert assignment is not None
    origin = Origin(made.runner.name, assignment.digest, assignment.serial, 1)
    made.send("sl-9", session(1, origin=origin), CONTRACT)
    run = summary_of(recorder_of(made.ledger), CONTRACT, 1)
    assert (run.task, run.taskrunner, run.assigned_by) == ("run", made.runner.name, "org-1")


def test_without_a_task_a_run_was_requested_by_whom_its_contract_was_created_for() -> None:
    made = Ledger()
    made.join("op", "UI")
    made.join("sl-1")
    made.send("op", CreateContract(), "study", on_behalf_of="Dr. Ada")
    made.send("sl-1", session(1), "study")
    run = summary_of(recorder_of(made), "study", 1)
    assert (run.requested_by, run.owner, run.task) == ("Dr. Ada", "org-1", "")


def test_what_is_noted_is_shown_line_by_line_with_whom_it_is_by(two_runs: Ledger) -> None:
    two_runs.send("op", AnnotateRun(1, "first\nsecond"), on_behalf_of="Bob")
    two_runs.send("op", TagRun(1, ("pilot",)))
    run = summary_of(recorder_of(two_runs), CONTRACT, 1)
    assert [(each.lines, each.tags, each.by) for each in run.notes] == [(("first", "second"), ("pilot",), "op")]
    assert run.tags == ("pilot",)


def test_a_hidden_run_is_left_out_for_its_own_organisation_only(two_runs: Ledger) -> None:
    two_runs.send("op", HideRun(1, hidden=True))
    recorder = recorder_of(two_runs)
    assert [each.run for each in run_list(recorder, "org-1")] == [2]
    assert [each.run for each in run_list(recorder, "org-1", hidden=True)] == [2, 1]
    assert [each.run for each in run_list(recorder, "org-2")] == [2, 1]


@pytest.mark.parametrize("named", ["", "study", "/1", "study/", "study/x", "study/-1", "study/²", "study/" + "9" * 11])
def test_what_names_no_run_is_refused_with_the_form_of_a_name(named: str) -> None:
    with pytest.raises(UnknownRunError, match="a run is named by its contract and its number"):
        run_key(named)


def test_a_run_that_there_is_not_is_named_with_those_that_there_are(two_runs: Ledger) -> None:
    assert run_key("a/b/3") == ("a/b", 3)
    with pytest.raises(UnknownRunError, match=f"no run 3 of contract {CONTRACT}; the latest are {CONTRACT}/1, "):
        summary_of(recorder_of(two_runs), CONTRACT, 3)


def test_records_that_were_saved_show_the_same_runs(two_runs: Ledger) -> None:
    recorder = recorder_of(two_runs)
    resumed = Recorder.resumed(recorder.chain, recorder.saved())
    assert run_list(resumed) == run_list(recorder)
    assert run_charts(resumed, CONTRACT, 1) == run_charts(recorder, CONTRACT, 1)


def test_saved_columns_of_other_lengths_are_refused() -> None:
    column = Column()
    column.reach(2)
    parts, numbers = column.saved()
    for changed in ({**numbers, "loss": numbers["loss"][:8]}, {**numbers, "loss": b"1"}, {}):
        with pytest.raises(ValueError, match=r"column|bytes"):
            Column.resumed(parts, changed)


# --- charts -----------------------------------------------------------------------------------------------------------


def test_the_matrix_has_a_letter_for_each_site_and_round(two_runs: Ledger) -> None:
    recorder = recorder_of(two_runs)
    leader = recorder.report(CONTRACT, 1).rounds[0].leader
    matrix = run_charts(recorder, CONTRACT, 1).matrix
    first = {site: cells[0] for site, cells in zip(matrix.sites, matrix.cells, strict=True)}
    assert first == {"site-1": "c", "site-2": "c", "site-3": "x"} | {leader: "L"}
    assert (matrix.first, [len(cells) for cells in matrix.cells]) == (0, [2, 2, 2])


@pytest.mark.parametrize(
    ("cell", "leads", "expected"),
    [
        (UNKNOWN, False, " "),
        (CONTRIBUTED, False, "c"),
        (CONTRIBUTED, True, "L"),
        (CONTRIBUTED | REPEATED, False, "r"),
        (CONTRIBUTED | REPEATED, True, "l"),
        (CONTRIBUTED | REPEATED | WITHHELD | REPORTED, False, "w"),
        (LATE | REPORTED, False, "t"),
        (LOST, False, "x"),
        (ABSENT, False, "a"),
        (ABSENT, True, "l"),
        (EXCLUDED, False, "e"),
    ],
)
def test_each_part_has_its_letter(cell: int, leads: bool, expected: str) -> None:
    assert letter(cell, leads=leads) == expected


def test_curves_are_of_each_site_and_of_the_swarm_on_common_axes(two_runs: Ledger) -> None:
    charts = run_charts(recorder_of(two_runs), CONTRACT, 1)
    swarm, first, second, third = charts.curves.series
    assert (swarm.kind, swarm.loss) == ("swarm", [0.6, 0.25])
    assert (first.name, first.loss, first.metric) == ("site-1", [0.5, 0.25], [0.8, None])
    assert (second.loss, second.epochs) == ([0.7, None], [2.0, None])
    assert third.loss == [None, None]
    assert charts.curves.round == [0, 1]
    assert charts.curves.time == sorted(charts.curves.time)
    assert charts.curves.marks == [{"round": 0, "text": "best"}]
    assert charts.interval == [8, 8]


@pytest.mark.parametrize(("adaptive", "expected"), [(True, [8, 8, 4]), (False, [8, 8, 8])])
def test_the_interval_changes_only_where_sites_train_adaptively(adaptive: bool, expected: list[int]) -> None:
    made = Ledger()
    for site in SITES:
        made.join(site)
    for site in SITES:
        made.send(site, session(min_peers=2, adaptive=adaptive))
    for _ in expected:
        submit(made, *SITES)
        publish(made, "1" * 64)
        report_all(made)  # always the same loss: the rounds get shorter
    assert run_charts(recorder_of(made), CONTRACT, 1).interval == expected


def test_a_round_that_is_made_again_has_the_parts_of_the_last_time() -> None:
    made = three_sites()
    merge_again(made, "1" * 64)
    report_all(made)
    assert [set(cells) <= set("cL") for cells in run_charts(recorder_of(made), CONTRACT, 1).matrix.cells] == [True] * 3


def test_runs_are_compared_by_what_differs(two_runs: Ledger) -> None:
    found = compare(recorder_of(two_runs), [(CONTRACT, 1), (CONTRACT, 2)])
    assert found.differing == ["sync_frequency"]
    assert [each.name for each in found.curves] == [f"{CONTRACT}/1", f"{CONTRACT}/2"]
    assert found.curves[0].loss == [0.6, 0.25]
    assert min(found.times[0]) > 0
    assert compare(recorder_of(two_runs), []).runs == []


def test_a_long_run_is_thinned_out_and_keeps_its_last_and_its_best_round() -> None:
    assert thinned(0, 10) == []
    assert thinned(10, 10) == list(range(10))
    found = thinned(1000, 100)
    assert len(found) <= 102
    assert found[-1] == 999
    assert thinned(5, 0) == [0, 4]


def test_a_table_has_a_line_for_each_run_and_no_formula(two_runs: Ledger) -> None:
    two_runs.send("op", TagRun(1, ("=1+1",)))
    head, *rows = csv.reader(io.StringIO(runs_table(run_list(recorder_of(two_runs)))))
    first = dict(zip(head, rows[1], strict=True))
    assert (first["run"], first["rounds"], first["best_round"], first["parameter_merge_method"]) == (
        "1",
        "2",
        "0",
        "mean",
    )
    assert first["tags"] == "'=1+1"


# --- memory -----------------------------------------------------------------------------------------------------------

MOST_BYTES_A_CELL = 64


def test_a_run_needs_a_few_dozen_bytes_for_each_site_and_round() -> None:
    """64 sites and 1,000 rounds: 64,000 cells, so 4 MB at most."""
    uids = [f"site-{number}" for number in range(32)]
    record = RunRecord(CONTRACT, 1)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(250):
        for uid in uids:
            record.report(uid, ReportPerformance(number, 0.5, 0.25, number, 250))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / (250 * len(uids)) < MOST_BYTES_A_CELL
