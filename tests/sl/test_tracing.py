"""Each site traces its own part of a round; all of them are one trace, and nobody has told anybody anything."""

import sys
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from support.rounds import three_sites
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.sl.tracing import MISSING, Traces, ids_of, is_wanted, traced
from swarmlearning.views.times import RoundTimes, Span

LEADER = (Span("fetch", 100, 900, "site-2", 5_000, behind=True), Span("merge", 900, 1000), Span("publish", 1000, 1100))
OTHER = (Span("train", -50, 700), Span("fetch", 700, 800, "site-1", fault="unreachable"))


def record(*spans: Span, number: int = 3) -> RoundTimes:
    return RoundTimes("contract", 1, number, 1_000_000, spans, ended=1200)


CHAIN = three_sites().chain


def traced_by(site: str, *records: RoundTimes) -> Sequence[ReadableSpan]:
    exporter, traces = InMemorySpanExporter(), Traces(lambda: CHAIN, site, site)
    traces.provider.add_span_processor(SimpleSpanProcessor(exporter))
    for each in records:
        traces.closed(each)
    found: Sequence[ReadableSpan] = exporter.get_finished_spans()
    return found


def parent(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def own(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def test_the_parts_of_a_round_at_all_sites_are_one_trace_below_the_root_that_its_leader_makes() -> None:
    root, leads, *work = traced_by("site-1", record(*LEADER))
    takes, *_ = traced_by("site-2", record(*OTHER))
    assert {own(span)[0] for span in (root, leads, takes, *work)} == {own(root)[0]}
    assert parent(leads) == parent(takes) == own(root)[1]
    assert {parent(span) for span in work} == {own(leads)[1]}
    assert [span.name for span in (root, leads, takes)] == ["round 3", "round 3 at site-1", "round 3 at site-2"]
    assert [span.name for span in work] == ["transfer: fetch", "merge: merge", "ledger: publish"]
    assert (root.start_time, root.end_time) == (1_000_000 * 10**6, 1_001_200 * 10**6)


def test_what_is_left_of_publishing_the_round_before_makes_no_second_root() -> None:
    late = Span("publish", -20, 5)
    assert [span.name for span in traced_by("site-1", record(late))] == ["round 3 at site-1", "ledger: publish"]


def test_a_transfer_has_its_link_its_bytes_and_its_fault() -> None:
    _, _, fetch, *_ = traced_by("site-1", record(*LEADER))
    assert fetch.attributes is not None
    assert {name: fetch.attributes[name] for name in ("swarm.peer", "swarm.bytes", "swarm.relay")} == {
        "swarm.peer": "site-2",
        "swarm.bytes": 5000,
        "swarm.relay": True,
    }
    failed = traced_by("site-2", record(*OTHER))[-1]
    assert failed.attributes is not None
    assert failed.attributes["swarm.fault"] == "unreachable"


def test_other_rounds_runs_contracts_and_networks_are_other_traces() -> None:
    same, base = ids_of("n", record()), ids_of("n", record())
    others = {ids_of("m", record()), ids_of("n", record(number=4)), ids_of("n", RoundTimes("contract", 2, 3, 0))}
    assert same == base
    assert len(others | {base}) == 4


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
    ],
)
def test_nothing_is_traced_unless_it_is_said_where_to(variables: dict[str, str], wanted: bool) -> None:
    assert is_wanted(variables) is wanted


async def test_without_the_extra_a_node_says_so_and_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    watch = Stopwatch()
    async with traced(watch, lambda: CHAIN, "site-1", "site-1"):
        assert watch.on_closed == []
    assert caplog.messages == [MISSING % "OTEL_EXPORTER_OTLP_ENDPOINT"]
