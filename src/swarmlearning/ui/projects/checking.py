"""Checks a project's files in place: what is wrong with each, with line, column and field. Pure; the time is given.

Profiles, policies and tasks are read by those who read them later, a SWOP and the ledger's operator, with macros in
place of which example values stand: what is found is what would be found on a host.
"""

import ast
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from cryptography import x509

from swarmlearning.choices import ROOT_TASK
from swarmlearning.documents.faults import DocumentError
from swarmlearning.identity.certificates import (
    CertificateError,
    common_name,
    expires_ms,
    is_authority,
    load_bundle,
    role_of,
    subject_of,
)
from swarmlearning.privacy.policyfile import read_lock
from swarmlearning.swop.policyfile import read_policy
from swarmlearning.swop.profile import Profile
from swarmlearning.swop.profilefile import read_profile
from swarmlearning.taskfiles.taskfile import TaskFile, read_task_file
from swarmlearning.ui.projects.kinds import MACROS_IN, KindName
from swarmlearning.ui.projects.macros import Place, Substituted, macros_in, substituted, values_at
from swarmlearning.views.names import displayed

EXAMPLE: Final = Place("192.0.2.1", "/opt/swarm-learning", "example")
"""Where files are checked for before a host is chosen."""
DAY_MS: Final = 24 * 3600 * 1000
WARNED_DAYS: Final = 30
MOST_FAULTS: Final = 50
LARGEST_SCRIPT: Final = 1024 * 1024
_SHOWN: Final = 300


class Remark(msgspec.Struct, frozen=True):
    """What is wrong, or may be, with a file: at which line and column (from 1; 0: the file as a whole), in which field,
    and what to do."""

    line: int
    column: int
    field: str
    message: str


class CheckedFile(msgspec.Struct, frozen=True):
    """The result for one file. `about`: one line of what it is. `macros`: those that it uses; `open`: of these the
    ones that have no value yet."""

    path: str
    kind: KindName
    size: int
    about: str
    faults: tuple[Remark, ...] = ()
    warnings: tuple[Remark, ...] = ()
    macros: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


class Read(NamedTuple):
    """A file's result, and what a reader has made of it: None where it is no such file, or a wrong one."""

    result: CheckedFile
    task: TaskFile | None = None
    profile: Profile | None = None
    certificates: tuple[x509.Certificate, ...] = ()


def check_file(kind: KindName, path: str, data: bytes, named: Mapping[str, str], now_ms: int | None = None) -> Read:
    """Checks a file's content; `named`: the project's values of macros. A `now_ms` (Unix time) judges certificates."""
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    if kind in MACROS_IN:
        return _yaml(kind, path, data, values_at(EXAMPLE, named))
    if kind in ("certificate", "authority"):
        return _certificates(kind, path, data, now)
    remarks = _script(data) if path.endswith(".py") else ()
    about = "Python script" if path.endswith(".py") else "text" if kind == "readme" else "file"
    return Read(CheckedFile(path, kind, len(data), about, warnings=remarks))


def check_together(files: Sequence[Read]) -> list[CheckedFile]:
    """The results of all files of a project, with what is wrong between them: tasks of one name, prerequisites and
    groups that do not fit."""
    tasks: dict[str, str] = {}
    groups: dict[str, str] = {}
    results = []
    known = {each.task.name for each in files if each.task}
    for each in files:
        remarks, doubts = [], []
        if each.task is not None:
            first = tasks.setdefault(each.task.name, each.result.path)
            if first != each.result.path:
                remarks.append(_at(1, "Name", f"the task {displayed(each.task.name)} is in {first} already"))
            if each.task.prerequisite not in (*known, ROOT_TASK):
                text = (
                    f"the task {displayed(each.task.prerequisite)} is in no file of this project: it has to be on the "
                    "ledger already"
                )
                doubts.append(_at(1, "Prereq", text))
        if each.profile is not None:
            first = groups.setdefault(each.profile.group, each.result.path)
            if first != each.result.path:
                text = (
                    f"{first} has the group {displayed(each.profile.group)}, too: on one host their pairs have to be "
                    "told apart"
                )
                doubts.append(_at(1, "groupname", text))
        results.append(_with(each.result, remarks, doubts))
    return results


def reread(kind: KindName, path: str, text: str) -> tuple[Remark, ...]:
    """What is wrong with a file of YAML whose macros are replaced; nothing where it can be deployed."""
    try:
        _READERS[kind](text.encode(), path)
    except DocumentError as error:
        return tuple(Remark(mark.line, mark.column, field, message) for mark, field, message in error.faults)
    return ()


def _with(result: CheckedFile, remarks: Sequence[Remark], doubts: Sequence[Remark]) -> CheckedFile:
    return msgspec.structs.replace(
        result, faults=(*result.faults, *remarks)[:MOST_FAULTS], warnings=(*result.warnings, *doubts)[:MOST_FAULTS]
    )


# --- YAML -----------------------------------------------------------------------------------------------------------


class _Content(NamedTuple):
    """What a reader makes of a file: one line about it, and what to warn of."""

    about: str
    doubts: tuple[str, ...] = ()
    task: TaskFile | None = None
    profile: Profile | None = None


def _yaml(kind: KindName, path: str, data: bytes, values: Mapping[str, str]) -> Read:
    try:
        done = substituted(data.decode("utf-8-sig"), values)
        data, used = done.text.encode(), macros_in(data.decode("utf-8-sig"))
    except UnicodeDecodeError:  # the reader says where
        done, used = Substituted("", (), ()), ()
    faults: tuple[Remark, ...] = ()
    content = _Content(kind)
    try:
        content = _READERS[kind](data, path)
    except DocumentError as error:
        faults = tuple(
            Remark(mark.line, done.original_column(mark.line, mark.column), field, displayed(message, _SHOWN))
            for mark, field, message in error.faults[:MOST_FAULTS]
        )
    doubts = tuple(Remark(0, 0, "", displayed(text, _SHOWN)) for text in content.doubts)
    result = CheckedFile(path, kind, len(data), content.about, faults, doubts, used, done.open)
    return Read(result, content.task, content.profile)


def _task(data: bytes, path: str) -> _Content:
    found = read_task_file(data, path)
    after = "" if found.prerequisite == ROOT_TASK else f" after {displayed(found.prerequisite)}"
    return _Content(f"{found.type} {displayed(found.name)}{after}", found.warnings, task=found)


def _profile(data: bytes, path: str) -> _Content:
    found = read_profile(data, path)
    pairs = f"{len(found.nodes)} SL+ML pair{'s' * (len(found.nodes) != 1)}"
    how = "containers" if found.manager == "DOCKER" else "local processes"
    about = f"group {displayed(found.group)}: {pairs} as {how}, taskrunner {displayed(found.taskrunner)}"
    return _Content(about, profile=found)


def _policy(data: bytes, path: str) -> _Content:
    """A SWOP's policy, or that of a privacy lock, which is told by its one key that every lock has."""
    if any(line.startswith(b"norm:") for line in data.splitlines()):
        lock = read_lock(data, path).lock
        noise = f", noise {lock.noise:g} within ε = {lock.epsilon:g}" if lock.noise else ""
        return _Content(f"privacy lock: changes of a norm of {lock.norm:g} at most{noise}")
    found = read_policy(data, path)
    return _Content(f"site policy: tasks of {', '.join(dict.fromkeys(each.organisation for each in found.trust))}")


_READERS: Final[Mapping[KindName, Callable[[bytes, str], _Content]]] = {
    "task": _task,
    "profile": _profile,
    "policy": _policy,
}


# --- certificates and scripts ---------------------------------------------------------------------------------------


def _certificates(kind: KindName, path: str, data: bytes, now_ms: int) -> Read:
    try:
        found = load_bundle(data)
        about = ", ".join(displayed(subject_of(each)) for each in found[:3])
        faults = _authority_faults(found) if kind == "authority" else _node_faults(found)
    except CertificateError as error:
        hint = "; one in DER form becomes PEM by: openssl x509 -inform der -in FILE -out FILE.pem"
        text = str(error) if b"-----BEGIN" in data else f"{error}{hint}"
        return Read(CheckedFile(path, kind, len(data), "no certificate", (_at(0, "", text),)))
    left = (expires_ms(found) - now_ms) / DAY_MS
    doubts: list[str] = []
    if left <= 0:
        faults.append("it has expired: have a new one issued")
    elif left <= WARNED_DAYS:
        doubts.append(f"it expires in {left:.0f} days: have a new one issued")
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    result = CheckedFile(
        path,
        kind,
        len(data),
        f"{about}{more}",
        tuple(_at(0, "", text) for text in faults),
        tuple(_at(0, "", text) for text in doubts),
    )
    return Read(result, certificates=found)


def _authority_faults(found: Sequence[x509.Certificate]) -> list[str]:
    others = [displayed(subject_of(each)) for each in found if not is_authority(each)]
    return [f"{other} is no certificate authority (CA:TRUE); it belongs to the certificates" for other in others]


def _node_faults(found: Sequence[x509.Certificate]) -> list[str]:
    if is_authority(found[0]):
        return [f"{displayed(subject_of(found[0]))} is a certificate authority; it belongs to the CA certificates"]
    try:
        role_of(found[0])
    except CertificateError as error:
        return [str(error)]
    return []


def node_in(certificates: Sequence[x509.Certificate]) -> str:
    """The name of the node whose certificate comes first, such as `SL-1`; empty for an authority or without a name."""
    return "" if not certificates or is_authority(certificates[0]) else common_name(certificates[0])


def _script(data: bytes) -> tuple[Remark, ...]:
    """Where a script is no valid Python for this interpreter; a site may run another one, so it is no fault."""
    if len(data) > LARGEST_SCRIPT:
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(data)
    except SyntaxError as error:
        return (Remark(error.lineno or 0, error.offset or 0, "", displayed(f"no valid Python: {error.msg}", _SHOWN)),)
    except (ValueError, RecursionError, MemoryError) as error:
        return (_at(0, "", f"no valid Python: {str(error) or 'nested too deeply'}"),)
    return ()


def _at(line: int, field: str, text: str) -> Remark:
    return Remark(line, min(line, 1), field, displayed(text, _SHOWN))
