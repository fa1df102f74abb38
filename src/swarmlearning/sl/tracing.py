"""Rounds as OpenTelemetry traces: all sites' parts of a round are one trace, though they tell each other nothing.

The identifiers of the trace and of its root follow from network, contract, run and round, so all nodes know them. A
node makes its spans of a round from the record of its diary once the round is closed, with the times of its own clock;
whoever has published the result makes the root. It is the extra `traces`, and off unless OpenTelemetry's own variables
name a place to send them to.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from swarmlearning.ledger.chain import Chain
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.views.names import displayed, name_of, node_names
from swarmlearning.views.times import RoundTimes, Span

if TYPE_CHECKING:
    from opentelemetry.context import Context

logger = logging.getLogger("swarm.SL")

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
END_SECONDS: Final = 5.0
"""The time that what is left to be sent has when the node ends."""
MISSING: Final = (
    "%s is set, but rounds are not traced: OpenTelemetry is not installed here (pip install 'swarmlearning[traces]')"
)


Facts: TypeAlias = dict[str, str | int | bool]


class Ids(NamedTuple):
    """Of the trace of one round, and of its root span."""

    trace: int
    root: int


def ids_of(network_id: str, record: RoundTimes) -> Ids:
    """The same at all nodes; never 0, which OpenTelemetry takes for none."""
    text = "\n".join(("swarm round 1", network_id, record.contract, str(record.run), str(record.round)))
    digest = hashlib.sha256(text.encode()).digest()
    return Ids(int.from_bytes(digest[:16], "big") | 1, int.from_bytes(digest[16:24], "big") | 1)


def is_wanted(variables: Mapping[str, str]) -> bool:
    """True if OpenTelemetry's variables say where to send traces."""
    off = variables.get("OTEL_SDK_DISABLED", "").lower() == "true" or variables.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(variables.get(name) for name in ENDPOINTS)


@asynccontextmanager
async def traced(watch: Stopwatch, chain: Callable[[], Chain], uid: str, name: str) -> AsyncIterator[None]:
    """Inside the block each closed round is traced, if the environment says so."""
    if not is_wanted(os.environ):
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning(MISSING, next(each for each in ENDPOINTS if os.environ.get(each)))
        yield
        return
    traces = Traces(chain, uid, name)
    traces.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    watch.on_closed.append(traces.closed)
    logger.info("Rounds are traced by OpenTelemetry")
    try:
        yield
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await asyncio.to_thread(traces.provider.shutdown)


class Traces:
    """The traces of one SL, by its UID and name. What is sent where is up to the processors of `provider`."""

    def __init__(self, chain: Callable[[], Chain], uid: str, name: str) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        class Generator(RandomIdGenerator):
            root = 0

            def generate_span_id(self) -> int:
                chosen, self.root = self.root, 0
                return chosen or super().generate_span_id()

        self._generator = Generator()
        self._chain = chain
        self._name = name
        resource = Resource.create({"service.name": "swarm-sl", "service.instance.id": uid, "swarm.site": name})
        self.provider: TracerProvider = TracerProvider(id_generator=self._generator, resource=resource)
        self._tracer = self.provider.get_tracer("swarmlearning")

    def closed(self, record: RoundTimes) -> None:
        """Makes the spans of a closed round."""
        ids = ids_of(self._chain().network_id, record)
        begin, end = record.begun_ms + (record.opened or 0), record.begun_ms + (record.ended or 0)
        facts: Facts = {
            "swarm.contract": displayed(record.contract),
            "swarm.run": record.run,
            "swarm.round": record.round,
            "swarm.complete": not (record.restarted or record.dropped),
        }
        within = _below(ids.trace, ids.root)
        if any(span.what == "publish" and span.begin >= 0 for span in record.spans):  # else of the round before
            self._generator.root = ids.root
            self._make(f"round {record.round}", _below(ids.trace, ids.root), begin, end, facts)
        own = self._make(f"round {record.round} at {self._name}", within, begin, end, facts)
        for span in record.spans:
            first, last = record.begun_ms + span.begin, record.begun_ms + (span.end if span.end is not None else 0)
            self._make(f"{span.phase}: {span.what}", _below(ids.trace, own), first, max(first, last), self._facts(span))

    def _facts(self, span: Span) -> Facts:
        facts: Facts = {"swarm.phase": span.phase}
        if span.uid:
            facts |= {"swarm.peer": name_of(node_names(self._chain().world), span.uid), "swarm.relay": span.behind}
        if span.bytes:
            facts["swarm.bytes"] = span.bytes
        if span.fault:
            facts["swarm.fault"] = span.fault
        return facts

    def _make(self, title: str, within: "Context", begin_ms: int, end_ms: int, facts: Facts) -> int:
        """Makes a span, and returns its ID."""
        span = self._tracer.start_span(title, within, attributes=facts, start_time=begin_ms * 1_000_000)
        span.end(end_ms * 1_000_000)
        return span.get_span_context().span_id


def _below(trace: int, parent: int) -> "Context":
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    context = SpanContext(trace, parent, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(context))
