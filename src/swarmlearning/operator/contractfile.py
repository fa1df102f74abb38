"""A training contract as its owner lays it down in a YAML file: members and terms.

    members: [hospital-a, hospital-b]
    observers: [registry]
    observersReadResults: false
    minOrganisations: 2
    weights: samples
    maxOrganisationWeight: 0.5
    mergeMethod: mean
    minPeers: 2
    structure: <digest as an SL logs it>
    shared: false
    transfer: int4

Every field may be left out; then it is as `swarm contract create` has it without its option.
"""

from typing import get_args

from swarmlearning.choices import MergeMethod, Transfer
from swarmlearning.documents.reading import Value, read
from swarmlearning.ledger.bodies import CreateContract, Weights
from swarmlearning.ledger.contracts.network.bodies import MAX_ORGANISATIONS

FIELDS = (
    "members",
    "observers",
    "observersReadResults",
    "minOrganisations",
    "weights",
    "maxOrganisationWeight",
    "mergeMethod",
    "minPeers",
    "structure",
    "shared",
    "transfer",
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
    )


def _organisations(value: Value) -> tuple[str, ...]:
    listed = [] if value.is_null else value.items(0, MAX_ORGANISATIONS)
    return tuple(each.text(1, LONGEST_ID) for each in listed)


def _thousandths(value: Value) -> int:
    share = value.number(0.001, 1.0)
    if round(share * 1000) != share * 1000:
        value.fault("expected a share with three decimals at most")
    return round(share * 1000)
