"""What comes of trying to reach a node at an announced address: a code of a fixed list, and how fast it was. Pure."""

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

Code: TypeAlias = Literal[
    "ok",
    "forbidden",
    "proxy",
    "unknown-host",
    "refused",
    "no-route",
    "silent",
    "closed",
    "no-tls",
    "stalled",
    "large-lost",
    "distrusted-here",
    "distrusted-there",
    "expired",
    "not-yet-valid",
    "expired-there",
    "another",
    "shut-out",
    "relay",
    "no-service",
    "untried",
]
"""`forbidden`: of a kind that this node does not connect to; `proxy`: the HTTP proxy in use lets no connection through;
`refused`: nothing listens there; `silent`: what is sent vanishes; `closed`: the connection is ended at once; `no-tls`:
something else is served there; `stalled`: a connection opens, and then nothing answers; `large-lost`: small packets
arrive and large ones do not; `distrusted-…`: at which end the other's certificate is not trusted; `expired`,
`not-yet-valid`: the other's certificate, by the clock here; `expired-there`: this node's, by the clock there;
`another`: not the node that has announced the address; `shut-out`: it answers, and admits this node no more; `relay`:
the relay does not reach the node; `no-service`: what answers is not what was announced; `untried`: this node tries no
more addresses for a while."""

CODES = frozenset(get_args(Code))
Milliseconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Rate: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one service of the node of a UID. `rtt_ms`: the time of a round trip; `rate`: bytes a second at which it has
    sent, None where it was not measured."""

    uid: Annotated[str, msgspec.Meta(max_length=64)]
    service: Annotated[str, msgspec.Meta(max_length=16)]
    code: Code
    rtt_ms: Milliseconds | None = None
    rate: Rate | None = None
