"""Reads a site's policy. Pure: bytes in, `Policy` out.

All keys may be left out:

    trust:                          # whose tasks; default: [own]
      - own                         # operators of the SWOP's organisation
      - hospital-b                  # this line admits those of another one
      - organisation: university    # only these identities, and only as makers of tasks
        subjects: ["CN=OPERATOR-1,O=University"]
        may: [make]
    types: [RUN_SWARM]              # types of tasks; default: all
    images: ["tensorflow/*"]        # images that builds begin from, and that are pulled; default: all
    mountRoots: [/srv/swarm]        # folders below which tasks may name files
    volumes: ["model-*"]            # volumes that tasks may name; default: all
    options: [gpus]                 # options of the profile that tasks may have
    allow: [<digest>]               # tasks that run whoever made and assigned them
    deny: [<digest>]                # tasks that never run
    limits: {seconds: 7200, cpus: 4, memory: 16G, processes: 500}      # of a pair
    shareLogs: {SL: [own, hospital-b], ML: [own]}                      # who reads logs; default: own alone
                                    # (SWOP: its own log; REPORT: its versions, settings and stacks; default: as SWOP)
    demandUser: true                # refuse to run ML processes as the SWOP's user
"""

import re
from typing import get_args

from swarmlearning.documents.faults import DocumentError
from swarmlearning.documents.reading import Value, read
from swarmlearning.swop.managing import Limits
from swarmlearning.swop.policy import OWN, Deed, Option, Part, Policy, Trust
from swarmlearning.taskfiles.body import TASK_TYPES
from swarmlearning.taskfiles.fields import absolute_path, filled

ENTRIES = 1000
SECONDS = 366 * 86400
CPUS = 4096
PROCESSES = 2**22

_ORGANISATION = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MEMORY = re.compile(r"([0-9]{1,15})([kmgt]?)b?", re.IGNORECASE)
_MULTIPLES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_KEYS = (
    "trust",
    "types",
    "images",
    "mountRoots",
    "volumes",
    "options",
    "allow",
    "deny",
    "limits",
    "shareLogs",
    "demandUser",
)
_DEEDS: tuple[Deed, ...] = get_args(Deed)
_OPTIONS: tuple[Option, ...] = get_args(Option)
_PARTS: tuple[Part, ...] = get_args(Part)


def read_policy(data: bytes, name: str) -> Policy:
    """Reads a policy; `name` is the file's, for messages. Raises `DocumentError`."""
    return read(data, name, _policy)


def usable_policy(data: bytes, name: str) -> Policy:
    """The same for a SWOP that is running: a policy that cannot be read allows nothing, and says why."""
    try:
        return read_policy(data, name)
    except DocumentError as error:
        return Policy(broken=str(error))


def _policy(root: Value) -> Policy:
    fields = root.fields((), _KEYS)
    trust, types, images = fields["trust"], fields["types"], fields["images"]
    roots, volumes, options = fields["mountRoots"], fields["volumes"], fields["options"]
    return Policy(
        trust=(Trust(OWN),) if trust.is_null else tuple(_trust(item) for item in trust.items(0, ENTRIES)),
        types=types.optional(lambda value: tuple(item.choice(TASK_TYPES) for item in value.items(0, ENTRIES))),
        images=images.optional(_texts),
        mount_roots=roots.optional(lambda value: tuple(absolute_path(item) for item in value.items(0, ENTRIES))),
        volumes=volumes.optional(_texts),
        options=options.optional(lambda value: tuple(item.choice(_OPTIONS) for item in value.items(0, ENTRIES))),
        allowed=_digests(fields["allow"]),
        denied=_digests(fields["deny"]),
        limits=fields["limits"].optional(_limits) or Limits(),
        share_logs=fields["shareLogs"].optional(_shared) or {},
        demand_user=fields["demandUser"].optional(Value.boolean) or False,
    )


def _trust(value: Value) -> Trust:
    if not value.is_mapping:
        return Trust(_organisation(value))
    fields = value.fields(("organisation",), ("subjects", "may"))
    deeds = fields["may"].optional(lambda may: tuple(item.choice(_DEEDS) for item in may.items(1, len(_DEEDS))))
    subjects = fields["subjects"].optional(lambda found: tuple(item.text(1, 1000) for item in found.items(1, ENTRIES)))
    return Trust(_organisation(fields["organisation"]), subjects or (), deeds or _DEEDS)


def _organisation(value: Value) -> str:
    text = filled(value)
    if text and _ORGANISATION.fullmatch(text) is None:
        value.fault(f"expected an organisation's short name, such as hospital-b, or own, found {text[:60]!r}")
    return text


def _texts(value: Value) -> tuple[str, ...]:
    return tuple(filled(item, 1, 300) for item in value.items(0, ENTRIES))


def _digests(value: Value) -> frozenset[str]:
    return frozenset() if value.is_null else frozenset(_digest(item) for item in value.items(0, ENTRIES))


def _digest(value: Value) -> str:
    text = filled(value)
    if text and _DIGEST.fullmatch(text) is None:
        value.fault(f"expected a digest of 64 hexadecimal digits, found {text[:70]!r}")
    return text


def _limits(value: Value) -> Limits:
    fields = value.fields((), ("seconds", "cpus", "memory", "processes"))
    return Limits(
        fields["seconds"].optional(lambda seconds: seconds.number(1, SECONDS)),
        fields["cpus"].optional(lambda cpus: cpus.number(0.01, CPUS)),
        fields["memory"].optional(_memory),
        fields["processes"].optional(lambda processes: processes.integer(1, PROCESSES)),
    )


def _memory(value: Value) -> int:
    """Bytes, from a size such as 512M or 16G."""
    text = filled(value)
    match = _MEMORY.fullmatch(text)
    if match is None or match[1].strip("0") == "":
        value.fault(f"expected a size such as 512M or 16G, found {text[:40]!r}")
        return 1
    return int(match[1]) * _MULTIPLES[match[2].lower()]


def _shared(value: Value) -> dict[Part, tuple[str, ...]]:
    fields = value.fields((), _PARTS)
    parts = [part for part in _PARTS if part in fields.found]
    return {part: tuple(_organisation(item) for item in fields[part].items(0, ENTRIES)) for part in parts}
