"""The page of organisations, and the acts of one: sign and reject, policies, quotas, authorities, revocations."""

from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, File, Form, UploadFile

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import load_bundle
from swarmlearning.ledger.bodies import Quorum, Quotas
from swarmlearning.node.clocks import clock_ms
from swarmlearning.operator import acts
from swarmlearning.operator import organisations as governing
from swarmlearning.ui.pages.acting import Done, act, action
from swarmlearning.ui.pages.approving import own_of
from swarmlearning.ui.pages.organisations import OrganisationsView, organisations_view
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.site import Here, Visit
from swarmlearning.views.names import displayed

PATH: Final = "/organisations"
LARGEST_FILE: Final = 64 * 1024
Id = Annotated[str, Form(max_length=40)]
Number = Annotated[int, Form(ge=1, lt=2**53)]
Thumbprint = Annotated[str, Form(pattern="^[0-9a-f]{64}$")]


def add_organisations(app: FastAPI) -> None:
    """The page, and its acts."""

    @page(app, PATH, "organisations.html")
    async def organisations(visit: Here) -> OrganisationsView:
        found = organisations_view(visit.feed.chain, own_of(visit), clock_ms())
        return msgspec.structs.replace(found, license=visit.site.license.facts)

    _add_agreement(app)
    _add_membership(app)


def _add_agreement(app: FastAPI) -> None:
    @action(app, f"{PATH}/sign", PATH)
    async def sign(visit: Here, number: Number) -> Done:
        words = ("swarm", "proposal", "sign", str(number))
        return await act(visit, lambda _: governing.sign(number), words, PATH)

    @action(app, f"{PATH}/reject", PATH)
    async def reject(visit: Here, number: Number) -> Done:
        words = ("swarm", "proposal", "reject", str(number))
        return await act(visit, lambda _: governing.reject(number), words, PATH)

    @action(app, f"{PATH}/policy", PATH)
    async def policy(
        visit: Here, policy: Annotated[str, Form(max_length=60)], quorum: Annotated[Quorum, Form()]
    ) -> Done:
        words = ("swarm", "policy", "set", policy, quorum)
        return await act(visit, lambda _: governing.set_policy(policy, quorum), words, PATH)

    @action(app, f"{PATH}/quota", PATH)
    async def quota(
        visit: Here,
        organisation: Id,
        quota: Annotated[str, Form(max_length=40)],
        amount: Annotated[int, Form(ge=1, le=2**31 - 1)],
    ) -> Done:
        if quota not in Quotas.__struct_fields__:
            raise UserError(f"{displayed(quota)} is no quota; there are {', '.join(Quotas.__struct_fields__)}")
        option = f"--{quota.replace('_', '-')}"
        words = ("swarm", "organisation", "quotas", organisation, option, str(amount))
        return await act(visit, lambda world: governing.set_quotas(world, organisation, {quota: amount}), words, PATH)


def _add_membership(app: FastAPI) -> None:
    @action(app, f"{PATH}/admit", PATH)
    async def admit(visit: Here, organisation: Id, file: Annotated[UploadFile, File()]) -> Done:
        pem = await certificate_in(visit, file)
        words = ("swarm", "organisation", "admit", organisation, displayed(file.filename or "ca.pem"))
        return await act(visit, lambda world: governing.admit(world, [pem], named=organisation), words, PATH)

    @action(app, f"{PATH}/retire", PATH)
    async def retire(visit: Here, organisation: Id) -> Done:
        words = ("swarm", "organisation", "retire", organisation)
        return await act(visit, lambda world: governing.retire(world, organisation), words, PATH)

    @action(app, f"{PATH}/authority", PATH)
    async def authority(visit: Here, organisation: Id, file: Annotated[UploadFile, File()]) -> Done:
        pem = await certificate_in(visit, file)
        words = ("swarm", "trust", "add", displayed(file.filename or "ca.pem"), "--organisation", organisation)
        return await act(visit, lambda world: governing.add_authority(world, organisation, pem), words, PATH)

    @action(app, f"{PATH}/authority/retire", PATH)
    async def retire_authority(visit: Here, thumbprint: Thumbprint) -> Done:
        words = ("swarm", "trust", "retire", thumbprint)
        return await act(visit, lambda world: governing.retire_authority(world, thumbprint), words, PATH)

    @action(app, f"{PATH}/revoke", PATH)
    async def revoke(visit: Here, node: Annotated[str, Form(max_length=200)]) -> Done:
        words = ("swarm", "node", "revoke", node)
        return await act(visit, lambda world: acts.revoke_node(world, node), words, PATH)

    @action(app, f"{PATH}/lift", PATH)
    async def lift(visit: Here, node: Annotated[str, Form(max_length=200)]) -> Done:
        words = ("swarm", "node", "lift-quarantine", node)
        return await act(visit, lambda world: acts.lift_quarantine(world, node), words, PATH)


async def certificate_in(visit: Visit, file: UploadFile) -> str:
    """The certificates (PEM) of a file that was sent. Raises `UserError`."""
    data = await file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise UserError(visit.text("organisations.large-file", file=displayed(file.filename or "-")))
    try:
        pem = data.decode("ascii")
    except UnicodeDecodeError:
        raise UserError(visit.text("organisations.no-pem", file=displayed(file.filename or "-"))) from None
    load_bundle(pem)
    return pem
