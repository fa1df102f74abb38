"""The pages of projects: their list, one with its files and macros, and a file with what is wrong in it."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, File, Form, Query, UploadFile

from swarmlearning.ledger.contracts.tasks import task
from swarmlearning.ledger.world import World
from swarmlearning.operator.tasks import is_equal
from swarmlearning.taskfiles.fields import PLACEHOLDER
from swarmlearning.taskfiles.taskfile import TaskFile, read_task_file
from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.executing import establish
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.projects.checking import CheckedFile, Read, check_together
from swarmlearning.ui.projects.folder import Change, Projects
from swarmlearning.ui.projects.kinds import KINDS, MACROS_IN, KindName, ProjectError, kind_named, kind_of
from swarmlearning.ui.projects.macros import MACROS, Place, Replaced, substituted, values_at
from swarmlearning.ui.projects.settings import ProjectSettings
from swarmlearning.ui.site import Here, Visit
from swarmlearning.views.names import escaped

PATH: Final = "/projects"
SHOWN_BYTES: Final = 256 * 1024
Name = Annotated[str, Form(max_length=40)]
FilePath = Annotated[str, Form(max_length=1000)]


class ProjectRow(msgspec.Struct, frozen=True):
    """A project in the list."""

    name: str
    author: str
    created_ms: int
    description: str
    files: int
    nodes: int


class ProjectsView(msgspec.Struct, frozen=True):
    """All projects."""

    projects: list[ProjectRow]


class FileRow(msgspec.Struct, frozen=True):
    """A file, and what its check has found. `task`: the name of the task that it holds; `ledger`: `new`, `same` as the
    one on the ledger, a `draft` there or an`other` task of that name; both empty for other files."""

    checked: CheckedFile
    changed_ms: int
    task: str = ""
    ledger: str = ""


class MacroRow(msgspec.Struct, frozen=True):
    """A macro that the project's files use, or has a value: `about` is empty for one of the original's samples."""

    macro: str
    value: str
    about: str
    given: bool
    open: bool


class ProjectView(msgspec.Struct, frozen=True):
    """A project with all that it consists of; `kinds` of files that can be added."""

    name: str
    settings: ProjectSettings
    files: list[FileRow]
    macros: list[MacroRow]
    kinds: tuple[str, ...]


class FileView(msgspec.Struct, frozen=True):
    """A file: its text, and where macros are replaced what a host would get. `text` is empty for what is no text."""

    project: str
    checked: CheckedFile
    text: str
    cut: bool
    host: str
    hosts: tuple[str, ...]
    replaced: tuple[Replaced, ...]


def add_projects(app: FastAPI) -> None:
    """The pages, and their acts."""

    @page(app, PATH, "projects.html")
    async def projects(visit: Here) -> ProjectsView:
        return ProjectsView(await asyncio.to_thread(_rows, visit.site.projects))

    @page(app, f"{PATH}/{{name}}", "project.html")
    async def project(visit: Here, name: str) -> ProjectView:
        return await asyncio.to_thread(project_view, visit.site.projects, name, visit.feed.chain.world)

    @page(app, f"{PATH}/{{name}}/file", "projectfile.html")
    async def file(
        visit: Here,
        name: str,
        path: Annotated[str, Query(max_length=1000)],
        host: Annotated[str, Query(max_length=63)] = "",
    ) -> FileView:
        return await asyncio.to_thread(file_view, visit.site.projects, name, path, host)

    _add_acts(app)
    _add_file_acts(app)


def _add_acts(app: FastAPI) -> None:
    @action(app, f"{PATH}/create", PATH)
    async def create(visit: Here, name: Name, description: Annotated[str, Form(max_length=2000)] = "") -> Done:
        await asyncio.to_thread(visit.site.projects.create, name, visit.user.name, description)
        return Done(Flash("done", visit.text("projects.created", name=name)), f"{PATH}/{name}")

    @action(app, f"{PATH}/{{name}}/remove", f"{PATH}/{{name}}")
    async def remove(visit: Here, name: str, again: Name) -> Done:
        if again != name:
            raise ProjectError(visit.text("projects.type-name", name=name))
        await asyncio.to_thread(visit.site.projects.remove, name)
        return Done(Flash("done", visit.text("projects.removed", name=name)), PATH)

    @action(app, f"{PATH}/{{name}}/macro", f"{PATH}/{{name}}")
    async def macro(
        visit: Here,
        name: str,
        macro: Annotated[str, Form(max_length=60)],
        value: Annotated[str, Form(max_length=200)] = "",
    ) -> Done:
        def change(settings: ProjectSettings) -> ProjectSettings:
            values = {key: kept for key, kept in settings.values.items() if key != macro}
            return msgspec.structs.replace(settings, values={**values, macro: value} if value else values)

        await changed(visit, name, change)
        return Done(Flash("done", visit.text("projects.macro-set", macro=macro)), f"{PATH}/{name}")

    @action(app, f"{PATH}/{{name}}/establish", f"{PATH}/{{name}}")
    async def onto_ledger(visit: Here, name: str, path: FilePath) -> Done:
        found = await asyncio.to_thread(ledger_file, visit.site.projects, name, path)
        return await establish(visit, [(path, found)], f"{PATH}/{name}")


def _add_file_acts(app: FastAPI) -> None:
    @action(app, f"{PATH}/{{name}}/upload", f"{PATH}/{{name}}")
    async def upload(
        visit: Here, name: str, kind: Annotated[str, Form(max_length=20)], files: Annotated[list[UploadFile], File()]
    ) -> Done:
        wanted, kept = kind_named(kind), list[str]()
        for each in files[:100]:
            path = each.filename or ""
            stored = await asyncio.to_thread(visit.site.projects.put, name, wanted, path, each.file)
            kept.append(stored.path)
        return Done(Flash("done", visit.text("projects.uploaded", files=", ".join(kept))), f"{PATH}/{name}")

    @action(app, f"{PATH}/{{name}}/drop", f"{PATH}/{{name}}")
    async def drop(visit: Here, name: str, path: FilePath) -> Done:
        await asyncio.to_thread(visit.site.projects.drop, name, path)
        return Done(Flash("done", visit.text("projects.dropped", file=path)), f"{PATH}/{name}")


async def changed(visit: Visit, name: str, change: Change) -> None:
    """Gives a project other settings, in one go. Raises `ProjectError`."""
    await asyncio.to_thread(visit.site.projects.alter, name, change)


def project_view(projects: Projects, name: str, world: World) -> ProjectView:
    """A project's data. Raises `ProjectError`. Blocks for as long as the disk takes."""
    settings, read = projects.settings(name), projects.read_all(name)
    times = {each.path: each.changed_ms for each in projects.files(name)}
    tasks = {each.result.path: each.task for each in read}
    checked = check_together(read)
    rows = [
        FileRow(each, times.get(each.path, 0), *_on_ledger(world, tasks[each.path]))
        for each in sorted(checked, key=lambda each: (list(KINDS).index(each.kind), each.path))
    ]
    return ProjectView(name, settings, rows, _macros(settings, read), tuple(KINDS))


def file_view(projects: Projects, name: str, path: str, host: str) -> FileView:
    """A file's data; with a `host` as that gets it. Raises `ProjectError`. Blocks for as long as the disk takes."""
    settings, data = projects.settings(name), projects.read(name, path, SHOWN_BYTES + 1)
    result = next(each for each in projects.check(name) if each.path == path)
    kind: KindName | None = kind_of(path)
    text = _text(data[:SHOWN_BYTES])
    place = next((each for each in settings.hosts if each.name == host), None)
    replaced: Sequence[Replaced] = ()
    if kind in MACROS_IN and place is not None:
        done = substituted(text, values_at(Place(place.address, place.root, name), settings.values))
        text, replaced = done.text, done.replaced
    hosts = tuple(each.name for each in settings.hosts) if kind in MACROS_IN else ()
    shown = escaped(text, keep="\n\t")
    return FileView(name, result, shown, len(data) > SHOWN_BYTES, place.name if place else "", hosts, tuple(replaced))


def ledger_file(projects: Projects, name: str, path: str) -> TaskFile:
    """A task file as it goes on the ledger, with the values of the project's first host. Raises `UserError`."""
    settings = projects.settings(name)
    if kind_of(path) != "task":
        raise ProjectError(f"{path} is no task file")
    text = projects.read(name, path).decode("utf-8-sig", "replace")
    if settings.hosts:
        host = settings.hosts[0]
        text = substituted(text, values_at(Place(host.address, host.root, name), settings.values)).text
    else:
        text = substituted(text, settings.values).text
    return read_task_file(text.encode(), path)


def _rows(projects: Projects) -> list[ProjectRow]:
    found = []
    for name in projects.names():
        settings = projects.settings(name)
        found.append(
            ProjectRow(
                name,
                settings.author,
                settings.created_ms,
                settings.description,
                len(projects.files(name)),
                len(settings.nodes),
            )
        )
    return found


def _on_ledger(world: World, found: TaskFile | None) -> tuple[str, str]:
    """The task in a file, and how it stands on the ledger."""
    if found is None:
        return "", ""
    known = task(world, found.name)
    if known is None:
        return found.name, "new"
    return found.name, ("same" if known.final else "draft") if is_equal(known, found) else "other"


def _macros(settings: ProjectSettings, read: Sequence[Read]) -> list[MacroRow]:
    used = dict.fromkeys(macro for each in read for macro in each.result.macros)
    left = {macro for each in read for macro in each.result.open}
    names = dict.fromkeys((*MACROS, *used, *settings.values))
    return [
        MacroRow(name, settings.values.get(name, ""), MACROS.get(name, ""), name in settings.values, name in left)
        for name in names
        if PLACEHOLDER.fullmatch(name)
    ]


def _text(data: bytes) -> str:
    if b"\x00" in data:
        return ""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return data[: error.start].decode("utf-8-sig") if error.start > len(data) - 4 else ""
