"""A site's policy: which tasks its SWOP carries out by itself, and which wait for its operator. Pure.

Three questions decide: whose task it is (who has made it and its prerequisites, who has assigned it: identities that
signed on the ledger), what it is (types, images), and where it reaches at the site (folders, volumes, options of the
profile). Whatever a policy does not allow waits until the site's operator approves of a digest, which covers the task,
its prerequisites, what these have brought in, and the site's files that it reaches: a change asks again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple, TypeAlias

from swarmlearning.choices import TaskType
from swarmlearning.swop.managing import Limits
from swarmlearning.swop.profile import ContainerOptions, Profile
from swarmlearning.taskfiles.definition import (
    Definition,
    MakeSwarmUserContent,
    MakeUserContainer,
    PullImage,
    RunSwarm,
    made_volumes,
)
from swarmlearning.taskfiles.dockerfile import bases
from swarmlearning.taskfiles.fields import file_path
from swarmlearning.taskfiles.images import full_name, matches, may_be_same

Deed: TypeAlias = Literal["make", "assign"]
Option: TypeAlias = Literal["gpus", "device", "ipc", "shm-size", "group-add", "cap-add", "security-opt", "privileged"]
Part: TypeAlias = Literal["SWOP", "SL", "ML", "REPORT"]
Resolve: TypeAlias = Callable[[str], str | None]
"""Follows the symbolic links of a path of the site; None where nothing is there. A SWOP in a container sees only what
is mounted into it."""

OWN = "own"
"""In a policy: the organisation of the SWOP."""
HARMLESS: tuple[Option, ...] = ("gpus", "device", "ipc", "shm-size", "group-add")
"""Options that tasks of other organisations get where a policy names none."""
SYSTEM_FOLDERS = ("/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/usr", "/var")
"""What tasks of other organisations do not reach where a policy names no roots."""


class Signer(NamedTuple):
    """Who signed on the ledger: the subject of the certificate, and the organisation that vouches for it."""

    organisation: str
    subject: str


class Trust(NamedTuple):
    """An organisation whose operators may make and assign tasks; `subjects`: only these, where there are any."""

    organisation: str
    subjects: tuple[str, ...] = ()
    deeds: tuple[Deed, ...] = ("make", "assign")


@dataclass(frozen=True)
class Policy:
    """What a site allows; None is no restriction.

    `mount_roots`: folders below which tasks may name files of the site. `allowed`: digests of tasks that run whoever
    made and assigned them; `denied`: of those that never run. `share_logs`: the organisations that may read a part's
    logs. `broken`: why there is no usable policy; then nothing runs.
    """

    trust: tuple[Trust, ...] = (Trust(OWN),)
    types: tuple[TaskType, ...] | None = None
    images: tuple[str, ...] | None = None
    mount_roots: tuple[str, ...] | None = None
    volumes: tuple[str, ...] | None = None
    options: tuple[Option, ...] | None = None
    allowed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    share_logs: Mapping[Part, tuple[str, ...]] = field(default_factory=dict)
    demand_user: bool = False
    broken: str | None = None


class Link(NamedTuple):
    """A task of the chain: its name, digest, maker, what it says, and the name of what it makes."""

    name: str
    type: TaskType
    digest: str
    maker: Signer
    definition: Definition
    outcome: str


class Facts(NamedTuple):
    """What is judged: the task and its prerequisites (the task last), who has assigned it to a SWOP of which
    organisation with which profile, and what the chain has brought in (digests).

    `protected`: folders and files of this SWOP that no task may reach, besides its nodes' identities and privacy locks;
    `images`: those that it runs its nodes in, which no task may replace. `replaces`: whose outcome the task would
    replace: of another organisation, or the site's own; empty for none. `approved`, `rejected`: the digests that the
    site's operator has answered.
    """

    chain: tuple[Link, ...]
    assigner: Signer
    organisation: str
    profile: Profile
    brought_in: frozenset[str] = frozenset()
    protected: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    replaces: str = ""
    approved: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()


class Judgement(NamedTuple):
    """Whether a task runs, waits for an approval of `digest`, or is rejected; and why it does not run."""

    says: Literal["run", "wait", "reject"]
    digest: str
    reasons: tuple[str, ...] = ()


def judge(policy: Policy, facts: Facts, resolve: Resolve) -> Judgement:
    """Returns whether this site carries out the task."""
    digest = approval_digest(facts, resolve)
    if policy.broken is not None:
        return Judgement("wait", digest, (f"the site's policy cannot be used, and nothing runs: {policy.broken}",))
    digests = {digest, *(link.digest for link in facts.chain)}
    if digests & policy.denied:
        return Judgement("reject", digest, ("the site's policy denies its digest, or that of a prerequisite",))
    if digest in facts.rejected:
        return Judgement("reject", digest, ("the site's operator has rejected it",))
    if digest in facts.approved:
        return Judgement("run", digest)
    reasons = [*_reach(policy, facts, resolve), *_outcomes(policy, facts), *_options(policy, facts)]
    if not {digest, facts.chain[-1].digest} & policy.allowed:
        reasons = [*_whose(policy, facts), *_what(policy, facts), *reasons]
    return Judgement("wait" if reasons else "run", digest, tuple(dict.fromkeys(reasons)))


def approval_digest(facts: Facts, resolve: Resolve) -> str:
    """What an operator approves: 64 hexadecimal digits over the chain, what it has brought in, the files of the site
    that it names as they resolve, and the profile's options."""
    covered = [
        [link.digest for link in facts.chain],
        sorted(facts.brought_in),
        [resolve(path) or path for link in facts.chain for path in _paths(link.definition)],
        [_used(node.options) for node in facts.profile.nodes] if _runs(facts) else [],
    ]
    return hashlib.sha256(json.dumps(covered).encode()).hexdigest()


def may_read_logs(policy: Policy, part: Part, reader: str, own: str) -> bool:
    """Whether an operator of the organisation `reader` may read the logs of a part; a SWOP's own one by default."""
    shared = policy.share_logs.get(part, (OWN,))
    return reader in (own if each == OWN else each for each in shared)


def _whose(policy: Policy, facts: Facts) -> Iterator[str]:
    for link in facts.chain:
        if not _trusted(policy, facts, link.maker, "make"):
            yield f"{link.name!r} was made by {_shown(link.maker)}, whom the policy does not trust to make tasks"
    if not _trusted(policy, facts, facts.assigner, "assign"):
        yield f"it was assigned by {_shown(facts.assigner)}, whom the policy does not trust to assign tasks"


def _trusted(policy: Policy, facts: Facts, signer: Signer, deed: Deed) -> bool:
    return any(
        signer.organisation == (facts.organisation if trust.organisation == OWN else trust.organisation)
        and (not trust.subjects or signer.subject in trust.subjects)
        and deed in trust.deeds
        for trust in policy.trust
    )


def _shown(signer: Signer) -> str:
    return f"{signer.subject!r} of {signer.organisation!r}"


def _what(policy: Policy, facts: Facts) -> Iterator[str]:
    for link in facts.chain:
        if policy.types is not None and link.type not in policy.types:
            yield f"the policy does not allow {link.type} tasks, such as {link.name!r}"
        if policy.images is not None:
            yield from _images(policy.images, link)


def _images(allowed: Sequence[str], link: Link) -> Iterator[str]:
    found: tuple[str, ...] | None = ()
    if isinstance(link.definition, MakeUserContainer):
        found = bases(link.definition.build_steps)
    elif isinstance(link.definition, PullImage):
        found = (full_name(link.definition),)
    if found is None:
        yield f"the build steps of {link.name!r} do not state which images they use"
        return
    for image in found:
        if not any(matches(pattern, image) for pattern in allowed):
            yield f"the policy does not allow the image {image!r} of {link.name!r}"


def _reach(policy: Policy, facts: Facts, resolve: Resolve) -> Iterator[str]:
    """Files and volumes of the site that the chain names."""
    identities = [file for node in facts.profile.nodes for file in node.identity]
    secret = {file.source for file in identities if file.mount == "VOLUME"}
    locks = [node.privacy_policy.rpartition("/")[0] for node in facts.profile.nodes if node.privacy_policy]
    protected = [*facts.protected, *locks, *(file.source for file in identities if file.mount == "BIND")]
    own = [resolve(path) or path for path in protected]
    roots = None if policy.mount_roots is None else [resolve(root) or root for root in policy.mount_roots]
    for link in facts.chain:
        for path in _paths(link.definition):
            real = resolve(path) or path
            shown = f"{repr(path) if path == real else f'{path!r} (which leads to {real!r})'} of {link.name!r}"
            if any(_within(real, each) or _within(each, real) for each in own):
                yield f"{shown} holds files of this SWOP, such as its policy or a key"
            elif roots is not None and not any(_within(real, root) for root in roots):
                yield f"{shown} lies outside the policy's mountRoots"
            elif roots is not None and resolve(path) is None:
                yield f"{shown} cannot be seen by this SWOP, so links on its way cannot be followed"
            elif roots is None and _foreign(facts) and _is_system(real):
                yield f"{shown} is a folder of the system"
        for volume in _volumes(link.definition):
            if volume in secret:
                yield f"the volume {volume!r} of {link.name!r} holds the identity of a node"
            elif policy.volumes is not None and not any(fnmatchcase(volume, pattern) for pattern in policy.volumes):
                yield f"the policy does not allow the volume {volume!r} of {link.name!r}"


def _outcomes(policy: Policy, facts: Facts) -> Iterator[str]:
    """What a task would put its outcome in the place of. Only the task itself is carried out now."""
    last = facts.chain[-1]
    if facts.replaces:
        yield f"{last.outcome!r}, which {last.name!r} makes, is there already, made by {facts.replaces}"
    if isinstance(last.definition, MakeUserContainer | PullImage):
        for image in facts.images:
            if may_be_same(last.outcome, image):
                yield f"{last.name!r} would replace the image {image!r}, in which this SWOP runs its nodes"
    if isinstance(last.definition, MakeSwarmUserContent):
        nodes = facts.profile.nodes
        kept = {file.source for node in nodes for file in node.identity if file.mount == "VOLUME"}
        kept |= {node.private_data.source for node in nodes if node.private_data and node.private_data.kind == "VOLUME"}
        for volume in made_volumes(last.definition, last.outcome, [node.index for node in nodes]):
            if volume in kept:
                yield f"the volume {volume!r}, which {last.name!r} fills, is an identity or private data of the profile"
            elif policy.volumes is not None and not any(fnmatchcase(volume, pattern) for pattern in policy.volumes):
                yield f"the policy does not allow the volume {volume!r}, which {last.name!r} fills"


def _paths(what: Definition) -> list[str]:
    """The files and folders of the site that a task names."""
    if isinstance(what, RunSwarm):
        return [shared.source for shared in what.shared_content if shared.kind == "BIND"]
    if isinstance(what, PullImage):
        return [what.auth] if isinstance(what.auth, str) else []
    if isinstance(what, MakeSwarmUserContent):
        return [path for operation in what.operations if (path := file_path(operation.target)) is not None]
    return []


def _volumes(what: Definition) -> list[str]:
    if isinstance(what, RunSwarm):
        return [shared.source for shared in what.shared_content if shared.kind == "VOLUME"]
    return [what.build_context] if isinstance(what, MakeUserContainer) and what.build_context else []


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _is_system(path: str) -> bool:
    return path == "/" or any(_within(path, folder) for folder in SYSTEM_FOLDERS)


def _options(policy: Policy, facts: Facts) -> Iterator[str]:
    allowed = policy.options
    if allowed is None and _foreign(facts):
        allowed = HARMLESS
    if allowed is None or not _runs(facts):
        return
    for node in facts.profile.nodes:
        for option in _used(node.options):
            if option not in allowed:
                yield f"node {node.index} of the profile has the option {option!r}, which the policy does not allow"


def _used(options: ContainerOptions) -> list[Option]:
    """The options that a node's containers have."""
    values: dict[Option, object] = {
        "gpus": options.gpus,
        "device": options.devices,
        "ipc": options.ipc,
        "shm-size": options.shm_size,
        "group-add": options.groups,
        "cap-add": options.capabilities,
        "security-opt": options.security,
        "privileged": options.privileged,
    }
    return [name for name, value in values.items() if value]


def _runs(facts: Facts) -> bool:
    return facts.chain[-1].type == "RUN_SWARM"


def _foreign(facts: Facts) -> bool:
    """Whether anybody of another organisation has a part in it."""
    signers = [facts.assigner, *(link.maker for link in facts.chain)]
    return any(signer.organisation != facts.organisation for signer in signers)
