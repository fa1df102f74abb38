"""The files that a finished training leaves in an SL's data directory: the final model, and a report of the run.

    results/<contract>-run<N>.safetensors    the final model, runs counted from 1; a link: no second copy of the bytes
    results/<contract>-run<N>.json           the report (`FinalModel`)

A contract whose name is long, or has other characters than a-z, 0-9, ".", "_" and "-", has a digest in the names of
its files.

They stay when another training begins; whoever needs the room removes them (`remove_older`, `swarm model remove`).
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from string import ascii_letters, digits
from typing import Final

import msgspec

from swarmlearning.files import replace_file
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.views.names import node_names
from swarmlearning.views.render import participation_text
from swarmlearning.views.training import participation

FOLDER: Final = "results"
_PLAIN: Final = frozenset(f"{ascii_letters}{digits}._-")
_LONGEST: Final = 64
"""Characters of a contract's name in the names of its files."""


class FinalModel(msgspec.Struct, frozen=True):
    """A run that is over. `run` counts from 1; `model` is the digest of the final model, `size` its bytes; `path` is
    relative to the data directory; `sites` maps a site's name to the number of rounds with a model of it."""

    contract: str
    run: int
    rounds: int
    model: str
    size: int
    path: str
    participation: str
    sites: dict[str, int]
    network: str
    height: int


def keep_final(directory: Path, store: TensorStore, chain: Chain, contract: str) -> FinalModel | str:
    """Keeps the final model of a training that is over, and its report; or why that cannot be done."""
    state = state_of(chain.world, contract)
    if state.result is None:
        return f"training of contract {contract} ended without a model"
    parts, names, digest = participation(state), node_names(chain.world), state.result.digest
    path = directory / FOLDER / f"{file_stem(contract, state.run)}.safetensors"
    try:
        record = FinalModel(
            contract=contract,
            run=state.run,
            rounds=state.rounds,
            model=digest,
            size=store.digest_info(digest).size,
            path=str(path.relative_to(directory)),
            participation=participation_text(parts, names),
            sites={names.get(each.uid, each.uid): each.contributed for each in parts.members},
            network=chain.network_id,
            height=chain.height,
        )
        path.parent.mkdir(mode=0o700, exist_ok=True)
        link_file(store.path(digest), path)
        replace_file(path.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    except (OSError, StoreError) as error:
        return f"the final model {digest} cannot be kept in {path.parent}: {error}"
    return record


def finished_runs(directory: Path) -> Iterator[FinalModel]:
    """The runs that have left a report in a data directory, by contract and run; other files are ignored."""
    found = []
    for path in (directory / FOLDER).glob("*.json"):
        with suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(path.read_bytes(), type=FinalModel))
    yield from sorted(found, key=lambda each: (each.contract, each.run))


def remove_older(directory: Path, keep: int) -> list[FinalModel]:
    """Removes the models and reports of all but the newest `keep` runs of each contract; returns the runs removed.

    Raises `OSError`.
    """
    by_contract: dict[str, list[FinalModel]] = {}
    for each in finished_runs(directory):
        by_contract.setdefault(each.contract, []).append(each)
    removed = [each for runs in by_contract.values() for each in runs[: len(runs) - keep]]
    for each in removed:
        stem = directory / FOLDER / file_stem(each.contract, each.run)
        for end in ("-best.safetensors", "-best.json", ".safetensors", ".json"):  # the report last: it names the others
            stem.with_name(f"{stem.name}{end}").unlink(missing_ok=True)
    return removed


def file_stem(contract: str, run: int) -> str:
    """A short file name, without its suffix, that no other run of any contract has, on whatever file system."""
    plain = "".join(char if char in _PLAIN else "-" for char in contract[:_LONGEST])
    mark = "" if plain == contract.lower() else f"-{sha256(contract.encode())[:16]}"
    return f"{plain}{mark}-run{run}"


def link_file(source: Path, target: Path) -> None:
    """Makes `target` another name of a file, in place of what was there. Raises `OSError`."""
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    os.link(source, part)
    part.replace(target)
