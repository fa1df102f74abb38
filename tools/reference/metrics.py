"""The page of metrics: the tables that nodes collect by, and what the library of Prometheus adds of a process."""

from collections.abc import Iterator, Mapping

from prometheus_client import ProcessCollector

from reference.markdown import cell, code, table
from swarmlearning.node.metrics import NODE, TRAININGS
from swarmlearning.sl.metrics import SL
from swarmlearning.sl.slicemetrics import SLICES
from swarmlearning.sn.metrics import SN


def page() -> str:
    """The page."""
    sections = (
        ("Every node", NODE),
        ("Trainings: on SNs for each contract, on an SL for its own", TRAININGS),
        ("An SL", SL),
        ("Of slices, on an SL for its training", SLICES),
        ("An SN", SN),
    )
    parts = ["# Metrics\n\n[Metrics and traces](../metrics.md) says how they are served.\n"]
    for title, metrics in sections:
        parts.append(f"## {title}\n\n{table(('metric', ''), _rows(metrics))}")
    parts.append(f"## Its process\n\n{table(('metric', ''), sorted(_of_process()))}")
    return "\n".join(parts)


def names() -> set[str]:
    """All metrics, by the names that Prometheus shows."""
    own = {f"swarm_{name}" for metrics in (NODE, TRAININGS, SL, SLICES, SN) for name in metrics}
    return own | {name.strip("`") for name, _ in _of_process()}


def _rows(metrics: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in metrics.items():
        yield code(f"swarm_{name}"), cell(text)


def _of_process() -> Iterator[tuple[str, str]]:
    for family in ProcessCollector(registry=None).collect():
        for sample in family.samples:
            yield code(sample.name), cell(family.documentation)
