"""The page of what waits for this site's approval, and the answers."""

import asyncio
from pathlib import Path
from typing import Annotated, Final, Literal

from fastapi import FastAPI, Form

from swarmlearning.errors import UserError
from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.approvals import ApprovalsView, answer, questions, waiting_view
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.organisations import organisation_of
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.site import Here, Site, Visit

PATH: Final = "/projects/approvals"


def add_approvals(app: FastAPI) -> None:
    """The page, and its act."""

    @page(app, PATH, "approvals.html")
    async def approvals(visit: Here) -> ApprovalsView:
        folders = await asyncio.to_thread(local_swops, visit.site)
        asked = await asyncio.to_thread(questions, folders)
        return waiting_view(visit.feed.chain.world, own_of(visit), asked)

    @action(app, f"{PATH}/answer", PATH)
    async def give(
        visit: Here,
        digest: Annotated[str, Form(pattern="^[0-9a-f]{64}$")],
        folder: Annotated[str, Form(max_length=4096)],
        said: Annotated[Literal["approve", "reject"], Form()],
    ) -> Done:
        known = {str(each): each for each in await asyncio.to_thread(local_swops, visit.site)}
        if folder not in known:
            raise UserError(visit.text("approvals.elsewhere"))
        runs = await asyncio.to_thread(answer, known[folder], digest, approved=said == "approve")
        text = visit.text("approvals.approved" if said == "approve" else "approvals.rejected")
        more = "" if runs else f" {visit.text('approvals.not-running')}"
        return Done(Flash("done", f"{text}{more}", f"swarm swop {said} {digest} --data-dir {folder}"), PATH)


def local_swops(site: Site) -> list[Path]:
    """The data directories of SWOPs of our projects that run on this machine."""
    found = []
    for name in site.projects.names():
        settings = site.projects.settings(name)
        roots = {host.name: host.root for host in settings.hosts}
        for node in settings.nodes:
            if node.kind == "swop" and node.host in roots:
                found.append(Path(roots[node.host]) / "projects" / name / "nodes" / node.name.lower())
    return [each for each in found if each.is_dir()]


def own_of(visit: Visit) -> str:
    """The organisation of the UI's certificate."""
    return organisation_of(visit.feed.chain, visit.feed.bundle)
