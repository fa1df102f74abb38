"""Training contracts laid down in YAML files."""

import pytest

from swarmlearning.documents.faults import DocumentError
from swarmlearning.ledger.bodies import CreateContract
from swarmlearning.operator.contractfile import read_contract_file

WHOLE = b"""
members: [hospital-a, hospital-b]
observers: [registry]
observersReadResults: yes
minOrganisations: 2
weights: samples
maxOrganisationWeight: 0.5
mergeMethod: geomedian
minPeers: 2
structure: 0123456789012345678901234567890123456789012345678901234567890123
shared: true
transfer: int8
transferBack: int8
"""


def test_every_field_is_read() -> None:
    assert read_contract_file(WHOLE, "terms.yaml") == CreateContract(
        members=("hospital-a", "hospital-b"),
        observers=("registry",),
        observers_read_results=True,
        min_organisations=2,
        weights="samples",
        max_organisation_weight=500,
        merge_method="geomedian",
        min_peers=2,
        structure="0123456789" * 6 + "0123",
        shared=True,
        transfer="int8",
        transfer_back="int8",
    )


def test_every_field_may_be_left_out() -> None:
    assert read_contract_file(b"members: null\n", "terms.yaml") == CreateContract()


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"member: [a]", "member"),
        (b"members: a", "members"),
        (b"minPeers: none", "minPeers"),
        (b"minPeers: 0", "minPeers"),
        (b"mergeMethod: average", "mergeMethod"),
        (b"maxOrganisationWeight: 0.0005", "maxOrganisationWeight"),
        (b"maxOrganisationWeight: 0.5555", "maxOrganisationWeight"),
        (b"maxOrganisationWeight: 2", "maxOrganisationWeight"),
        (b"structure: abc", "structure"),
        (b"weights: mine", "weights"),
        (b"transferBack: int4", "transferBack"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_field(line: bytes, field: str) -> None:
    with pytest.raises(DocumentError) as refused:
        read_contract_file(b"observers: []\n" + line, "terms.yaml")
    assert str(refused.value).startswith("terms.yaml:2:")
    assert f"{field}: " in str(refused.value)
