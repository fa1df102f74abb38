"""The report of a run, made from its ledger (read and verified again from block 0) and from what the scripts left.

A script may write, in its folder `$SWARM_RUN_DIR/sites/$SWARM_SITE/`:

    metrics.json         a JSON object, taken over into its site's entry; `samples` and `accuracy` are best known
    model.safetensors    the model it ends with; its digest then stands for the site instead of what its SL reported
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from swarmlearning.cli.runfolder import RunFolder
from swarmlearning.ledger.apply import state_of
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.history import BrokenChainError, RoundRecord, rounds, steps
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.supervise.processes import RunError
from swarmlearning.views.nodes import sl_names
from swarmlearning.views.training import main_contract

SHOWN_GAPS = 8
NO_FAILURES: Mapping[str, str] = MappingProxyType({})


class Influence(msgspec.Struct, frozen=True):
    """As the round's leader states: how far a site's model lay from the merged one, and the cosine of the angle
    between its update and the merged update; null is not said. An outlier has the largest distance of all."""

    distance: float | None
    cosine: float | None


class RoundReport(msgspec.Struct, frozen=True):
    """A round with a result. Each site that had a session is in exactly one of the five; `excluded` says why, and
    `influence` has an entry for each contributor."""

    number: int
    leader: str
    contributors: list[str]
    late: list[str]
    lost: list[str]
    absent: list[str]
    excluded: dict[str, str]
    influence: dict[str, Influence] = {}


class LedgerReport(msgspec.Struct, frozen=True):
    """What a chain tells of its training. `problem` is why it does not verify, empty when it does; the rest is what
    stands before that. `holds` maps each site to the final model it has reported to hold."""

    problem: str
    over: bool
    rounds: list[RoundReport]
    model: str
    holds: dict[str, str | None]


class Report(msgspec.Struct, frozen=True):
    """`report.json`. Accuracies are fractions, null where nobody stated them; `model` is the ledger's final model and
    `digests` what each site holds (64 hex digits); `failures` says which sites have failed, and how."""

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
        status="; ".join([status(ledger), *(f"{name} {what}" for name, what in failures.items())]),
        over=ledger.over,
        sites=entries,
        swarm_accuracy=min(stated) if len(stated) == len(entries) else None,
        pooled_accuracy=None,
        model=ledger.model,
        digests={name: own_digest(folder.site(name)) or ledger.holds.get(name) for name in sites},
        rounds=ledger.rounds,
        ledger_verified=not ledger.problem,
        wall_seconds=round(wall_seconds, 2),
        failures=dict(failures),
    )


def save(report: object, *paths: Path | None) -> None:
    """Writes a report as a JSON file to each path; a half-written one is never seen. Raises `RunError`."""
    for path in paths:
        if path is None:
            continue
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
            part.replace(path)
        except OSError as error:
            raise RunError(f"cannot write the report to {path}: {error.strerror}") from error


def succeeded(report: Report) -> bool:
    """True when training came to its end, no site failed and the ledger verifies; rounds may have had fewer sites."""
    return report.ledger_verified and report.over and not report.failures


def status(ledger: LedgerReport) -> str:
    """One line: whether training came to its end, how many rounds had all sites, and who was not in the others."""
    sites, total = len(ledger.holds), len(ledger.rounds)
    taking_part = [len(each.contributors) for each in ledger.rounds]
    full = taking_part.count(sites)
    text = f"{full}/{total} rounds with {sites}/{sites}"
    if full < total:
        text += f", the others with at least {min(taking_part)}/{sites}: {_gaps(ledger)}"
    if ledger.problem:
        return f"the ledger does not verify ({ledger.problem}); before that {text}"
    if not ledger.over:
        return f"not over: {text}"
    return f"{'complete' if full == total else 'partial'}: {text}"


def _gaps(ledger: LedgerReport) -> str:
    """Who was not in which rounds, and why; rounds in a row with the same gap are named together."""
    found = []
    for missing, run in groupby(ledger.rounds, key=lambda each: _missing(each, list(ledger.holds))):
        numbers = [each.number for each in run]
        if missing:
            rounds = f"round {numbers[0]}" if len(numbers) == 1 else f"rounds {numbers[0]} to {numbers[-1]}"
            found.append(f"{rounds} without {missing}")
    more = f" and {len(found) - SHOWN_GAPS} more gaps" if len(found) > SHOWN_GAPS else ""
    return ", ".join(found[:SHOWN_GAPS]) + more


def _missing(each: RoundReport, sites: Sequence[str]) -> str:
    why = dict.fromkeys(each.late, "late") | dict.fromkeys(each.lost, "lost") | dict.fromkeys(each.absent, "absent")
    why |= dict.fromkeys(each.excluded, "excluded")
    return " and ".join(f"{site} ({why.get(site, 'not there yet')})" for site in sites if site not in each.contributors)


def read_ledger(path: Path) -> LedgerReport:
    """Verifies and replays a chain file from block 0; what is wrong with it is the report's `problem`."""
    walked: list[Step] = []
    problem = ""
    try:
        for step in steps(read_chain_file(path)):
            if step.void is not None:
                problem = f"block {step.chain.height} is void: {step.void}"
                break
            walked.append(step)
    except (OrderingError, BrokenChainError) as error:
        problem = str(error)
    if not walked and not problem:
        problem = f"{path} has no block"
    return _ledger_report(walked, problem)


def metrics(site: Path) -> dict[str, Any]:
    """What a script has written into `metrics.json`, if it has. Raises `RunError` when it is no JSON object."""
    path = site / "metrics.json"
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise RunError(f"{path} has to hold a JSON object: {error}") from error


def own_digest(site: Path) -> str | None:
    """Digest of the model that the script has written, if it has."""
    path = site / "model.safetensors"
    if not path.exists():
        return None
    from swarmlearning.tensors.digest import digest_file  # every `swarm` command would load numpy

    return digest_file(path).root


def _ledger_report(walked: Sequence[Step], problem: str) -> LedgerReport:
    world = (walked[-1].chain if walked else Chain()).world
    contract = main_contract(world)
    state, names = state_of(world, contract), sl_names(world)
    members = {uid: name for uid, name in names.items() if uid in state.members}
    # A round that was voided and merged again is there twice: the later one stands.
    standing = {
        record.number: record
        for record in rounds(walked)
        if (record.contract, record.run) == (contract, state.run) and record.number < state.rounds
    }
    holders = state.result.holders if state.result else ()
    model = state.result.digest if state.result else ""
    return LedgerReport(
        problem=problem,
        over=state.over,
        rounds=[_round_report(standing[number], members) for number in sorted(standing)],
        model=model,
        holds={name: model if uid in holders else None for uid, name in members.items()},
    )


def _round_report(record: RoundRecord, names: dict[str, str]) -> RoundReport:
    def named(uids: Sequence[str]) -> list[str]:
        return [name for uid, name in names.items() if uid in uids]

    return RoundReport(
        number=record.number,
        leader=names[record.leader],
        contributors=named(record.contributed),
        late=named(record.late),
        lost=named(record.lost),
        absent=named(record.absent),
        excluded={names[part.uid]: f"{part.reason}: {part.detail}" for part in record.excluded},
        influence={names[part.uid]: Influence(part.distance, part.cosine) for part in record.contributions},
    )
