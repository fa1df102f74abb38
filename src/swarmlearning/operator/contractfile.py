"""A training contract as its owner lays it down in a YAML file: members and terms.

    members: [hospital-a, hospital-b]
    observers: [registry]
    observersReadResults: false
    minOrganisations: 2
    weights: samples
    maxOrganisationWeight: 0.5
    mergeMethod: mean
    outerOptimizer: nesterov
    outerLearningRate: 0.7
    outerMomentum: 0.9
    minPeers: 2
    structure: <digest as an SL logs it>
    shared: false
    transfer: int4
    transferBack: int8

Every field may be left out; then it is as `swarm contract create` has it without its option.
"""

from collections.abc import Callable
from typing import Any, get_args

from swarmlearning import outer
from swarmlearning.choices import MergeMethod, Transfer, TransferBack
from swarmlearning.documents.reading import Fields, Value, read
from swarmlearning.ledger.bodies import CreateContract, Weights
from swarmlearning.ledger.contracts.network.bodies import MAX_ORGANISATIONS
from swarmlearning.ledger.contracts.training.outer import OuterOptimizer

FIELDS = (
    "members",
    "observers",
    "observersReadResults",
    "minOrganisations",
    "weights",
    "maxOrganisationWeight",
    "mergeMethod",
    "outerOptimizer",
    "outerLearningRate",
    "outerMomentum",
    "minPeers",
    "structure",
    "shared",
    "transfer",
    "transferBack",
)
LONGEST_ID = 40
DIGEST = 64


def read_contract_file(data: bytes, name: str) -> CreateContract:
    """Reads such a file; `name` is the file's, for messages. Raises `DocumentError`."""
    return read(data, name, _contract)


def _contract(root: Value) -> CreateContract:
    fields = root.fields((), FIELDS)
    weights: tuple[Weights, ...] = get_args(Weights)
    methods: tuple[MergeMethod, ...] = get_args(MergeMethod)
    transfers: tuple[Transfer, ...] = get_args(Transfer)
    backs: tuple[TransferBack, ...] = get_args(TransferBack)
    return CreateContract(
        members=_organisations(fields["members"]),
        observers=_organisations(fields["observers"]),
        observers_read_results=fields["observersReadResults"].optional(Value.boolean) or False,
        min_organisations=fields["minOrganisations"].optional(lambda each: each.integer(1, MAX_ORGANISATIONS)) or 0,
        weights=fields["weights"].optional(lambda each: each.choice(weights)) or "own",
        max_organisation_weight=fields["maxOrganisationWeight"].optional(_thousandths) or 0,
        merge_method=fields["mergeMethod"].optional(lambda each: each.choice(methods)),
        min_peers=fields["minPeers"].optional(lambda each: each.integer(1, 2**31 - 1)) or 0,
        structure=fields["structure"].optional(lambda each: each.text(DIGEST, DIGEST)) or "",
        shared=fields["shared"].optional(Value.boolean) or False,
        transfer=fields["transfer"].optional(lambda each: each.choice(transfers)) or "float32",
        transfer_back=fields["transferBack"].optional(lambda each: each.choice(backs)) or "float32",
        outer=_outer(fields),
    )


def _outer(fields: Fields) -> OuterOptimizer | None:
    method = fields["outerOptimizer"].optional(lambda each: each.choice(outer.METHODS))
    numbers = fields["outerLearningRate"], fields["outerMomentum"]
    if method is None:
        for each in numbers:
            if not each.is_null:
                each.fault("needs an outerOptimizer: nesterov or adam")
        return None
    rate, momentum = outer.DEFAULTS[method]
    rate = numbers[0].optional(lambda each: _decimal(each, outer.rate)) or rate
    momentum = numbers[1].optional(lambda each: _decimal(each, outer.momentum)) or momentum
    return OuterOptimizer(method, rate, momentum)


def _decimal(value: Value, written: Callable[[Any], str]) -> str:
    try:
        return written(value.number(0.0, 1000.0))
    except ValueError as error:
        value.fault(f"expected {error}")
        return ""


def _organisations(value: Value) -> tuple[str, ...]:
    listed = [] if value.is_null else value.items(0, MAX_ORGANISATIONS)
    return tuple(each.text(1, LONGEST_ID) for each in listed)


def _thousandths(value: Value) -> int:
    share = value.number(0.001, 1.0)
    if round(share * 1000) != share * 1000:
        value.fault("expected a share with three decimals at most")
    return round(share * 1000)
