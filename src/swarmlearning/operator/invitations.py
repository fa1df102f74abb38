"""An operator's side of invitations: the acts, the code for a newcomer, the requests that wait for the office. Pure."""

from collections.abc import Sequence
from typing import Final

from cryptography import x509

from swarmlearning.identity.certificates import CertificateError, anchors_reached, load_bundle, thumbprint
from swarmlearning.identity.onetime import public_half
from swarmlearning.invitations.code import MAX_ADDRESSES, MAX_AUTHORITIES, JoinCode, write_code
from swarmlearning.invitations.standing import State, state_of
from swarmlearning.ledger.bodies import Certify, Invite, WithdrawInvitation
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.network.state import Invitation
from swarmlearning.ledger.contracts.network.trust import authorities_of, read_certificate
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import NodeType
from swarmlearning.ledger.world import World
from swarmlearning.node.sources import JOIN
from swarmlearning.operator.acts import Act, ActError, by_prefix, check_ids, checked

LISTED: Final = 12
"""Characters of an invitation's key that name it."""


def own_organisation(chain: Chain, bundle: str) -> str:
    """The organisation that has issued a certificate (PEM, leaf first). Raises `ActError` where none has."""
    try:
        return read_certificate(bundle, network.authorities(chain.world), chain.time_ms).organisation
    except Rejection as rejection:
        raise ActError(rejection.detail) from rejection


def invite_node(key: bytes, own: str, role: NodeType, name: str, expires_ms: int) -> Act:
    """Invites a node of the operator's `own` organisation, for the holder of this private key. Raises `ActError`."""
    body = checked(Invite(public_half(key), own, expires_ms, role, name))
    return Act(network.CONTRACT, body, f"{name} of {own} is invited")


def invite_organisation(key: bytes, named: str, expires_ms: int) -> Act:
    """Invites a new organisation, for the holder of this private key. Raises `ActError`."""
    check_ids([named])
    return Act(network.CONTRACT, Invite(public_half(key), named, expires_ms), f"organisation {named} is invited")


def withdraw(world: World, named: str) -> Act:
    """Withdraws an invitation, named by the beginning of its key. Raises `ActError`."""
    found = {each.key: each for each in all_invitations(world)}
    key = by_prefix(named.lower(), found, "invitation", "key", "swarm invite list")
    if found[key].state == "withdrawn":
        raise ActError(f"invitation {key[:LISTED]} is withdrawn already")
    if found[key].state == "used":
        raise ActError(f"invitation {key[:LISTED]} has been used; {_instead(found[key])}")
    return Act(network.CONTRACT, WithdrawInvitation(key), f"invitation {key[:LISTED]} is withdrawn: its code is void")


def _instead(used: Invitation) -> str:
    """What an operator does about an invitation that cannot be withdrawn any more."""
    if used.role is None:
        return f"while proposal {used.proposal} is open, swarm proposal reject {used.proposal} refuses the admission"
    if used.certificate:
        return f"the certificate that was issued by it is made void with: swarm ca revoke {used.name}"
    return f"answer no where swarm ca sign asks about {used.name}"


def certify(key: str, name: str, certificate: str) -> Act:
    """Hands the certificate (PEM) over to whoever has requested it by an invitation."""
    return Act(network.CONTRACT, Certify(key, certificate), f"the certificate of {name} waits for it at every SN")


def all_invitations(world: World) -> tuple[Invitation, ...]:
    """All that there have been, by key."""
    return world.area("invitation/", Invitation)


def shown_state(world: World, found: Invitation, time_ms: int) -> State:
    """The state of an invitation at this block time."""
    return state_of(world, found, time_ms)[0]


def waiting_requests(world: World, own: str) -> list[Invitation]:
    """The invitations of an organisation whose nodes wait for a certificate of its office, by name."""
    found = [each for each in all_invitations(world) if each.by == own and each.request and not each.certificate]
    return sorted(found, key=lambda each: each.name)


def code_of(chain: Chain, invited: Invite, key: bytes, api: str) -> str:
    """The code for the holder of an invitation's private key; `api`: of the SN that the operator uses, which comes
    first. Raises `ActError` where no SN takes in newcomers: whoever invites looks for that before."""
    sns = join_ports(chain.world, invited.organisation, api)
    of_sns = _fingerprints([each for sn in sns for each in _authorities(chain, sn)])
    own = _fingerprints([load_bundle(each.pem)[0] for each in authorities_of(chain.world, invited.organisation)])
    others = [each for each in of_sns if each not in own][: MAX_AUTHORITIES // 2]
    own = sorted(own, key=lambda each: each not in of_sns)[: MAX_AUTHORITIES - len(others)]
    return write_code(
        JoinCode(
            network=bytes.fromhex(chain.network_id),
            key=key,
            organisation=invited.organisation,
            name=invited.name,
            expires=invited.expires_ms // 1000,
            addresses=tuple(sn.addresses[JOIN] for sn in sns),
            authorities=(*own, *others),
            own=len(own),
        )
    )


def join_ports(world: World, own: str, api: str) -> list[Node]:
    """The SNs through which a newcomer may come: that of the API `api` first, then those of this organisation.

    Raises `ActError` where there is none.
    """
    found = [sn for sn in network.admitted(world) if JOIN in sn.addresses]
    if not found:
        raise ActError(
            "no SN of this network takes in newcomers: each was started with --sn-join-port 0, is a witness, or is of "
            "an older version"
        )
    return sorted(found, key=lambda sn: (sn.addresses.get("api") != api, sn.organisation != own, sn.uid))[
        :MAX_ADDRESSES
    ]


def _authorities(chain: Chain, sn: Node) -> list[x509.Certificate]:
    """Those that vouch for an SN's certificate now."""
    stored = network.certificate(chain.world, sn.certificate)
    if stored is None:
        return []
    leaf, *intermediates = load_bundle(stored.pem)
    anchors = [load_bundle(each.pem)[0] for each in authorities_of(chain.world, sn.organisation)]
    try:
        return list(anchors_reached(leaf, intermediates, anchors, chain.time_ms))
    except CertificateError:
        return []


def _fingerprints(authorities: Sequence[x509.Certificate]) -> list[bytes]:
    return list(dict.fromkeys(bytes.fromhex(thumbprint(each)) for each in authorities))
