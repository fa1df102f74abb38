"""The bodies of transactions of the network contract."""

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

from swarmlearning.ledger.fields import Body, Count, Digest, Name, NodeType, OrganisationId, Pem, Positive, Uid

ROLES: tuple[NodeType, ...] = get_args(NodeType)
MAX_ANCHORS = 8
MAX_ORGANISATIONS = 64
MAX_OBJECTIONS = 64
MAX_UNUSED = 64
"""Certificates in one `Revoke`."""


ActName: TypeAlias = Annotated[str, msgspec.Meta(max_length=40, pattern=r"^[a-z]+(-[a-z]+)*\Z")]
Quorum: TypeAlias = Literal["none", "one", "own", "majority", "all"]
"""Whose operators have to sign: nobody's (a contract is created by its first session); one organisation's; that of the
organisation which the act concerns; those of more than half of the organisations; of all."""


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A certificate authority of an organisation, and the roles for which it may issue certificates.

    `certificate`: the authority's own; after it there may be the same authority's certificate by its predecessor.
    `trust_domain`: of SPIFFE IDs; where it is set, the authority issues for IDs of this domain only. `bundle`: it is
    one of the roots that the domain has at present; others follow by `AddRoot`.
    """

    certificate: Pem
    roles: tuple[NodeType, ...] = ROLES
    trust_domain: Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[a-z0-9._-]*\Z")] = ""
    bundle: bool = False


class Quotas(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that an organisation may have and use; the defaults are more than rounds of 64 of its SLs need.

    On the ledger: `nodes` that have not left, `contracts`, `tasks`, `taskrunners`; `transactions` and `ledger_bytes` a
    second; new `entries` a day, of which a new node is three. At each SN's API and each SL's file server:
    `connections`; block `streams`; `requests` a second; bytes of chain history (`history_bytes`) and of models
    (`model_bytes`) a second.
    """

    nodes: Positive = 256
    contracts: Positive = 64
    tasks: Positive = 1024
    taskrunners: Positive = 64
    transactions: Positive = 512
    ledger_bytes: Positive = 1024 * 1024
    entries: Positive = 4096
    connections: Positive = 512
    streams: Positive = 128
    requests: Positive = 1024
    history_bytes: Positive = 32 * 1024 * 1024
    model_bytes: Positive = 1024 * 1024 * 1024


class NewOrganisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An organisation as it is admitted; `name` is for people."""

    id: OrganisationId
    name: Name
    anchors: Annotated[tuple[Anchor, ...], msgspec.Meta(min_length=1, max_length=MAX_ANCHORS)]
    quotas: Quotas = Quotas()


class Genesis(Body, frozen=True, omit_defaults=True):
    """Founds a network; the only transaction of block 0. `policies`: quorums of acts that are not the default."""

    network_name: Name
    founder_name: Name
    organisations: Annotated[tuple[NewOrganisation, ...], msgspec.Meta(max_length=MAX_ORGANISATIONS)]
    certificate: Pem
    version: Name
    rules_version: int
    created_ms: Count
    policies: dict[ActName, Quorum] = msgspec.field(default_factory=dict)


class Register(Body, frozen=True):
    """A node starts: it states its certificate and raises its incarnation.

    `certificate` is empty when the signing certificate is on the chain already; `newest_rules` is the newest version of
    the rules that its program knows.
    """

    node_type: NodeType
    name: Name
    certificate: Pem
    version: Name
    newest_rules: Positive = 1


class Announce(Body, frozen=True):
    """The addresses of a node: service (`api`, `p2p`, `fs`) to `host:port`."""

    addresses: dict[Name, Name]


class Renew(Body, frozen=True):
    """The node uses another certificate of its identity from now on, by which this is signed; it goes on running.

    It may be the same one as before, with other intermediate certificates behind it.
    """

    certificate: Pem


class AdmitOrganisation(Body, frozen=True):
    """One more organisation takes part from this height on, or one that was retired again."""

    organisation: NewOrganisation


class RetireOrganisation(Body, frozen=True):
    """An organisation takes no part any more: its authorities are not trusted, and its nodes have left."""

    organisation: OrganisationId


class AddAuthority(Body, frozen=True):
    """Trust one more certificate authority of an organisation from this height on."""

    organisation: OrganisationId
    anchor: Anchor


class AddRoot(Body, frozen=True):
    """Trust one more root of the sender's own trust domain, where that is followed, from this height on."""

    certificate: Pem


class RetireAuthority(Body, frozen=True):
    """Stop trusting an authority from this height on; its earlier certificates stay valid in history."""

    thumbprint: Digest


class Revoke(Body, frozen=True, omit_defaults=True):
    """Stop trusting a node certificate, and all earlier ones of its identity, from this height on.

    `unused`: certificates of that identity, by authorities of `organisation`, that no node has used yet (each with its
    intermediate ones): they are refused from now on, too. `thumbprint` may be that of one of them.
    """

    thumbprint: Digest
    organisation: OrganisationId | Literal[""] = ""
    unused: Annotated[tuple[Pem, ...], msgspec.Meta(max_length=MAX_UNUSED)] = ()


class Invite(Body, frozen=True, omit_defaults=True):
    """Whoever has the private half of the one-time `key` may make one request until `expires_ms` (block time): for the
    certificate of a node of the sender's organisation, or for the admission of `organisation`, which is a new one.

    `role` and `name` are those of the node (its common name, such as `SL-1`); both are empty for an organisation.
    """

    key: Digest
    organisation: OrganisationId
    expires_ms: Count
    role: NodeType | None = None
    name: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?\Z")] = ""


class WithdrawInvitation(Body, frozen=True):
    """An invitation of the sender's organisation is of no use any more."""

    key: Digest


OneTimeSignature: TypeAlias = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[0-9a-f]{128}\Z")]
"""By the one-time key of an invitation, of what `inviting.statement` says."""


class RequestCertificate(Body, frozen=True):
    """Whoever was invited requests a certificate for a node: a CSR (PEM). An SN passes that on, and cannot alter it."""

    key: Digest
    request: Annotated[str, msgspec.Meta(max_length=8 * 1024)]
    signature: OneTimeSignature


class RequestAdmission(Body, frozen=True):
    """Whoever was invited requests the admission of a new organisation with these authorities; `name` is for people.

    It opens the proposal of the organisation that has sent the invitation, which nobody has signed yet.
    """

    key: Digest
    name: Name
    anchors: Annotated[tuple[Anchor, ...], msgspec.Meta(min_length=1, max_length=MAX_ANCHORS)]
    signature: OneTimeSignature


class Certify(Body, frozen=True):
    """The sender's organisation has issued the certificate (PEM) for which somebody whom it has invited had asked."""

    key: Digest
    certificate: Pem


class SetQuotas(Body, frozen=True):
    """From now on an organisation has these quotas."""

    organisation: OrganisationId
    quotas: Quotas


class SetPolicy(Body, frozen=True):
    """From now on this act needs that quorum. The change itself needs the quorum that is in force for the act."""

    act: ActName
    quorum: Quorum


class Sign(Body, frozen=True):
    """The sender's organisation agrees to a proposal; its last signature puts the proposal into effect."""

    proposal: Positive


class Reject(Body, frozen=True):
    """The sender's organisation does not agree to a proposal, and takes back its signature if it has signed."""

    proposal: Positive


class SwitchRules(Body, frozen=True):
    """From the next block on the given version of the rules, the next one, holds; nodes that do not know it stop. The
    nodes of more than half of the organisations that run any must have announced that they know it."""

    rules_version: Positive


class Leave(Body, frozen=True):
    """The sender leaves the network for good; registering again brings it back."""


class Consent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's signature under a recovery: a JWS of its statement, and the certificate that it was made with."""

    certificate: Pem
    signature: Annotated[str, msgspec.Meta(max_length=64 * 1024)]


class Recover(Body, frozen=True, omit_defaults=True):
    """The network is restarted from the sender alone: the SNs `lost` count as having left.

    `authorities`: successors of authorities that have expired. `consents`: signatures of operators, collected offline.
    """

    lost: Annotated[tuple[Uid, ...], msgspec.Meta(max_length=1024)]
    authorities: Annotated[tuple[AddAuthority, ...], msgspec.Meta(max_length=MAX_ORGANISATIONS)] = ()
    consents: Annotated[tuple[Consent, ...], msgspec.Meta(max_length=MAX_ORGANISATIONS)] = ()


class LiftQuarantine(Body, frozen=True):
    """An SN that was put in quarantine for the void block of this height may seal, vote and report again."""

    uid: Uid
    height: Count


class Objection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The signature of an SN (its UID) that objects to a block: a JWS of its statement."""

    sn: Uid
    signature: Annotated[str, msgspec.Meta(max_length=16 * 1024)]


class RefuseBlock(Body, frozen=True):
    """More than half of the SNs that count have not acted on a block that `sealer` has sealed for this height (its
    hash), since its time was ahead of their clocks, and have signed that."""

    height: Positive
    block: Digest
    sealer: Uid
    objections: Annotated[tuple[Objection, ...], msgspec.Meta(max_length=MAX_OBJECTIONS)]


class Equivocation(Body, frozen=True):
    """An SN has sealed two blocks for one height: the headers of both, as it has signed them."""

    first: Annotated[str, msgspec.Meta(max_length=8 * 1024)]
    second: Annotated[str, msgspec.Meta(max_length=8 * 1024)]


class Lost(Body, frozen=True):
    """A node's lease is gone, or (reported by the node itself) its ML process is: it is not waited for."""

    uid: Uid
    incarnation: Positive


class Back(Body, frozen=True):
    """A lost node's lease is there again; it is waited for once it holds the latest model."""

    uid: Uid
    incarnation: Positive
