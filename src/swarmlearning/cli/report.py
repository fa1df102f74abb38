"""The report of a run, made from its ledger (read and verified again from block 0) and from what the scripts left.

A script may write, in its folder `$SWARM_RUN_DIR/sites/$SWARM_SITE/`:

    metrics.json         a JSON object, taken over into its site's entry; `samples` and `accuracy` are best known
    model.safetensors    the model it ends with; its digest then stands for the site instead of what its SL reported
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from swarmlearning.cli.runfolder import RunFolder
from swarmlearning.ledger.history import BrokenChainError, steps
from swarmlearning.ordering.local import iterate_chain_file
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.supervise.processes import RunError
from swarmlearning.views.curves import RoundMean
from swarmlearning.views.render import report_text
from swarmlearning.views.report import Recorder, RoundReport, TrainingReport

NO_FAILURES: Mapping[str, str] = MappingProxyType({})


class Report(msgspec.Struct, frozen=True):
    """`report.json`. Accuracies are fractions, null where nobody stated them; `model` is the ledger's final model and
    `digests` what each site holds (64 hex digits); `failures` maps each site that has failed to how it has,
    `best` is the round with the best result, as sites have measured."""

    status: str
    over: bool
    sites: list[dict[str, Any]]
    swarm_accuracy: float | None
    pooled_accuracy: float | None
    model: str
    digests: dict[str, str | None]
    rounds: list[RoundReport]
    ledger_verified: bool
    wall_seconds: float
    failures: dict[str, str] = {}
    best: RoundMean | None = None


def make_report(
    folder: RunFolder, sites: Sequence[str], wall_seconds: float, failures: Mapping[str, str] = NO_FAILURES
) -> Report:
    """The report of a run that has ended; `failures` by site. Raises `RunError` when a script's metrics cannot be read.

    The swarm's accuracy is the lowest that its scripts state, null unless all do.
    """
    ledger = read_ledger(folder.chain)
    entries = [{"name": name, "samples": None, "alone_accuracy": None, **metrics(folder.site(name))} for name in sites]
    stated = [entry["accuracy"] for entry in entries if isinstance(entry.get("accuracy"), int | float)]
    return Report(
        status="; ".join([report_text(ledger), *(f"{name} {what}" for name, what in failures.items())]),
        over=ledger.over,
        sites=entries,
        swarm_accuracy=min(stated) if len(stated) == len(entries) else None,
        pooled_accuracy=None,
        model=ledger.model,
        digests={name: own_digest(folder.site(name), ledger.model) or ledger.holds.get(name) for name in sites},
        rounds=ledger.rounds,
        ledger_verified=not ledger.problem,
        wall_seconds=round(wall_seconds, 2),
        failures=dict(failures),
        best=ledger.best,
    )


def save(report: object, *paths: Path | None) -> None:
    """Writes a report as a JSON file to each path; a half-written one is never seen. Raises `RunError`."""
    for path in paths:
        if path is not None:
            write_whole(path, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file, in folders made when missing; a half-written one is never seen. Raises `RunError`."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise RunError(f"cannot write the report to {path}: {error.strerror}") from error


def succeeded(report: Report) -> bool:
    """True when training came to its end, no site failed and the ledger verifies; rounds may have had fewer sites."""
    return report.ledger_verified and report.over and not report.failures


def read_ledger(path: Path, contract: str = "", run: int | None = None) -> TrainingReport:
    """Verifies and replays a chain file from block 0; what is wrong with it is the report's `problem`."""
    recorder, problem = read_records(path)
    return recorder.report(contract, run, problem)


def read_records(path: Path) -> tuple[Recorder, str]:
    """The records of a chain file, verified and replayed from block 0, and what is wrong with it."""
    try:
        return _records(iterate_chain_file(path), f"{path} has no block")
    except OrderingError as error:
        return Recorder(), str(error)


def recorded(blocks: Iterable[bytes], no_blocks: str, contract: str = "", run: int | None = None) -> TrainingReport:
    """Verifies and replays blocks from the genesis; `no_blocks` is the problem where there are none."""
    recorder, problem = _records(blocks, no_blocks)
    return recorder.report(contract, run, problem)


def _records(blocks: Iterable[bytes], no_blocks: str) -> tuple[Recorder, str]:
    recorder, problem = Recorder(), ""
    try:
        for step in steps(blocks):
            recorder.add(step)
    except (OrderingError, BrokenChainError) as error:
        problem = str(error)
    return recorder, problem or ("" if recorder.chain.height >= 0 else no_blocks)


def metrics(site: Path) -> dict[str, Any]:
    """The content of a script's `metrics.json`, empty without one. Raises `RunError` when it is no JSON object."""
    path = site / "metrics.json"
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise RunError(f"{path} has to hold a JSON object: {error}") from error


def own_digest(site: Path, final: str | None) -> str | None:
    """Digest of the model that the script has written, if it has; in the format of `final`, where it is that model."""
    path = site / "model.safetensors"
    if not path.exists():
        return None
    from swarmlearning.tensors.digest import digest_file, is_named  # every `swarm` command would load numpy

    return final if final and is_named(path, final) else digest_file(path).root
