"""Reads a site's privacy policy. Pure: bytes in, `Lock` out.

norm: 1.0                            # the largest L2 norm of the site's whole change of a round; clipped to it
noise: 1.1                           # Gaussian noise: standard deviation as a multiple of norm; default: none
epsilon: 8                           # with noise: the budget, and
delta: 1e-6                          # its δ
protects: whole-change-per-round     # with noise: what ε is about, and
outside: losses-metrics-weights      # what it is not about
contributors: 3                      # serve a model only to a round of so many contributors; default: 1
initialModels: [<digest>]            # models that may be given as they are where there is no base; default: none
record: /srv/swarm/given.jsonl       # what was given; default: beside the policy, with .given.jsonl at its end
"""

import re
from typing import Final, NamedTuple

from swarmlearning.documents.reading import Value, read
from swarmlearning.privacy.policy import Lock

NORMS: Final = (1e-9, 1e9)
NOISES: Final = (0.01, 1e6)
EPSILONS: Final = (1e-3, 1e6)
DELTAS: Final = (1e-12, 0.01)
CONTRIBUTORS: Final = 1000
MODELS: Final = 100
MAX_BYTES: Final = 2**20

PROTECTS: Final = "whole-change-per-round"
OUTSIDE: Final = "losses-metrics-weights"

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_OF_NOISE: Final = ("epsilon", "delta", "protects", "outside")


class PolicyFile(NamedTuple):
    """The lock, and the path of the record that its policy names; empty for the default."""

    lock: Lock
    record: str


def read_lock(data: bytes, name: str) -> PolicyFile:
    """Reads a policy; `name` is the file's, for messages. Raises `DocumentError` with all that is wrong."""
    return read(data, name, _policy)


def _policy(root: Value) -> PolicyFile:
    fields = root.fields(("norm",), ("noise", *_OF_NOISE, "contributors", "initialModels", "record"))
    noise = fields["noise"].optional(_noise) or 0.0
    for key in _OF_NOISE:
        if noise and fields[key].is_null:
            root.fault(f"{key} is missing: with noise, {_MEANING[key]}")
        elif not noise and not fields[key].is_null:
            fields[key].fault("has a meaning with noise only; add noise, or remove this line")
    fields["protects"].optional(lambda value: value.choice((PROTECTS,)))
    fields["outside"].optional(lambda value: value.choice((OUTSIDE,)))
    lock = Lock(
        norm=fields["norm"].number(*NORMS),
        noise=noise,
        epsilon=fields["epsilon"].optional(lambda value: value.number(*EPSILONS)) or 0.0,
        delta=fields["delta"].optional(lambda value: value.number(*DELTAS)) or 0.0,
        contributors=fields["contributors"].optional(lambda value: value.integer(1, CONTRIBUTORS)) or 1,
        initial=frozenset(fields["initialModels"].optional(_digests) or ()),
    )
    return PolicyFile(lock, fields["record"].optional(lambda value: value.text(1, 1000)) or "")


_MEANING: Final = {
    "epsilon": "the budget has to be stated",
    "delta": "the budget has to be stated",
    "protects": f"state what ε is about ({PROTECTS})",
    "outside": f"state what ε is not about ({OUTSIDE})",
}


def _noise(value: Value) -> float:
    number = value.number(0, NOISES[1])
    if 0 < number < NOISES[0]:
        value.fault(f"noise below {NOISES[0]:g} protects nothing; use 0 for none")
    return number


def _digests(value: Value) -> tuple[str, ...]:
    return tuple(_digest(item) for item in value.items(0, MODELS))


def _digest(value: Value) -> str:
    text = value.text(1, 100)
    if text and _DIGEST.fullmatch(text) is None:
        value.fault(f"expected a model's digest of 64 hexadecimal digits, found {text[:70]!r}")
    return text
