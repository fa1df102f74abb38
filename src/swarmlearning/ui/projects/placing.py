"""Which files of a project lie where on a host, and with what content. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from swarmlearning.documents.faults import DocumentError
from swarmlearning.swop.profile import Profile
from swarmlearning.swop.profilefile import read_profile
from swarmlearning.ui.projects.checking import reread
from swarmlearning.ui.projects.kinds import MACROS_IN, KindName, kind_of
from swarmlearning.ui.projects.macros import Place, Replaced, substituted, values_at
from swarmlearning.ui.projects.settings import ProjectSettings


class Source(msgspec.Struct, frozen=True):
    """A file of the project for a plan: its digest (SHA-256, hex), size in bytes, and its text where macros are
    replaced in it; `node`: whose certificate it is."""

    path: str
    digest: str
    size: int
    text: str = ""
    node: str = ""

    def profile_at(self, values: Mapping[str, str]) -> Profile | None:
        """The profile that this is with these values of macros; None where it is none, which the plan says."""
        try:
            return read_profile(substituted(self.text, values).text.encode(), self.path)
        except DocumentError:
            return None


class PlannedFile(msgspec.Struct, frozen=True):
    """A file to lie on a host at `path`, with the content of `source` in the project, or where macros are replaced
    `text`; `digest` is the source's."""

    host: str
    path: str
    source: str
    digest: str
    size: int
    text: str | None = None
    replaced: tuple[Replaced, ...] = ()


class CertificateFiles(NamedTuple):
    """Where a node's certificate, its key and the authorities lie on its host."""

    capath: str
    certificate: str
    key: str


def certificate_files(place: Place, node: str) -> CertificateFiles:
    """As `swarm cert request` and `install` name them in the project's folder `certs`."""
    folder, name = f"{place.folder}/certs", node.lower()
    return CertificateFiles(f"{place.folder}/cacerts", f"{folder}/{name}-cert.pem", f"{folder}/{name}-key.pem")


def files_at(
    host: str, place: Place, settings: ProjectSettings, sources: Sequence[Source]
) -> tuple[list[PlannedFile], list[tuple[str, str]]]:
    """The files for a host, and by path why one cannot lie there. Tasks go on the ledger, and certificates of nodes
    are installed beside the key that each was issued for, where there is that key."""
    values = values_at(place, settings.values)
    planned, faults = list[PlannedFile](), list[tuple[str, str]]()
    for source in sources:
        kind = kind_of(source.path)
        if kind is None or kind in ("task", "certificate"):
            continue
        path = f"{place.folder}/{source.path}"
        if kind not in MACROS_IN:
            planned.append(PlannedFile(host, path, source.path, source.digest, source.size))
            continue
        done = substituted(source.text, values)
        faults += [(source.path, text) for text in _faults(kind, source.path, done.text, done.open)]
        size = len(done.text.encode())
        planned.append(PlannedFile(host, path, source.path, source.digest, size, done.text, done.replaced))
    return planned, faults


def _faults(kind: KindName, path: str, text: str, left: Sequence[str]) -> Iterator[str]:
    if left:
        yield f"{', '.join(left)} has no value: give it one in the project's settings"
        return
    for remark in reread(kind, path, text):
        field = f"{remark.field}: " if remark.field else ""
        yield f"line {remark.line}, column {remark.column}: {field}{remark.message}"
