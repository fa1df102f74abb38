"""Invitations: a code that is shown once, the requests that newcomers send, and the certificates for them."""

import shlex
import time
from typing import Annotated, Final, Literal

from fastapi import FastAPI, Form, Path
from starlette.responses import Response

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import ROLES, Role, load_bundle
from swarmlearning.identity.onetime import new_key
from swarmlearning.ledger.bodies import Invite
from swarmlearning.ledger.contracts.network.state import invitation
from swarmlearning.operator import invitations
from swarmlearning.operator.session import Operator
from swarmlearning.ui.pages.acting import Done, NotAllowedError, act, action
from swarmlearning.ui.pages.approving import own_of
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.governing import PATH
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit
from swarmlearning.views.render import clock

SECONDS: Final = {"1h": 3600, "1d": 24 * 3600, "7d": 7 * 24 * 3600, "29d": 29 * 24 * 3600}
Lasting = Annotated[Literal["1h", "1d", "7d", "29d"], Form()]
Key = Annotated[str, Form(pattern="^[0-9a-f]{64}$")]


def add_invitations(app: FastAPI) -> None:
    """The acts on the page of organisations, and the file of a request."""

    @action(app, f"{PATH}/invite", PATH)
    async def invite_node(visit: Here, node: Annotated[str, Form(max_length=60)], lasting: Lasting = "7d") -> Done:
        role = next((each for each in ROLES if node.upper().startswith(f"{each}-")), None)
        if role is None:
            raise UserError(visit.text("organisations.node-name", roles=", ".join(f"{each}-" for each in ROLES)))
        command = ("swarm", "invite", "--node", node, "--expires", lasting)
        return await _invite(visit, node, role, SECONDS[lasting], command)

    @action(app, f"{PATH}/invite-organisation", PATH)
    async def invite_organisation(
        visit: Here, organisation: Annotated[str, Form(max_length=40)], lasting: Lasting = "7d"
    ) -> Done:
        command = ("swarm", "invite", "--organisation", organisation, "--expires", lasting)
        return await _invite(visit, organisation, None, SECONDS[lasting], command)

    @action(app, f"{PATH}/withdraw", PATH)
    async def withdraw(visit: Here, key: Key) -> Done:
        words = ("swarm", "invite", "withdraw", key)
        return await act(visit, lambda world: invitations.withdraw(world, key), words, PATH)

    @action(app, f"{PATH}/certify", PATH)
    async def certify(visit: Here, key: Key, certificate: Annotated[str, Form(max_length=32_000)]) -> Done:
        found = next(
            (each for each in invitations.waiting_requests(visit.feed.chain.world, own_of(visit)) if each.key == key),
            None,
        )
        if found is None:
            raise UserError(visit.text("organisations.no-request"))
        pem = certificate.replace("\r\n", "\n")
        load_bundle(pem)
        words = ("swarm", "ca", "sign", "--out", "CA-FOLDER")
        return await act(visit, lambda _: invitations.certify(key, found.name, pem), words, PATH)

    @app.get(f"{PATH}/requests/{{key}}", response_class=Response, response_model=None)
    async def request(visit: Here, key: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> Response:
        """The request of a newcomer as a file, for the office that has the CA."""
        found = invitation(visit.feed.chain.world, key)
        if found is None or not found.request or found.by != own_of(visit):
            raise Denied(404, "organisations.no-request")
        headers = {"content-disposition": f'attachment; filename="{key[:12]}-request.pem"'}
        return Response(found.request, media_type="application/x-pem-file", headers=headers)


async def _invite(visit: Visit, named: str, role: Role | None, seconds: int, command: tuple[str, ...]) -> Done:
    """The code goes to the page that is shown next, once, and is kept nowhere. Raises `UserError`."""
    if not visit.feed.may_act:
        raise NotAllowedError(visit)
    own, key = own_of(visit), new_key()

    async def work(operator: Operator) -> tuple[str, str]:
        chain = await operator.refresh()
        invitations.join_ports(chain.world, own, operator.client.address)  # before anything is promised
        expires_ms = max(chain.time_ms, time.time_ns() // 1_000_000) + seconds * 1000
        made = (
            invitations.invite_node(key, own, role, named, expires_ms)
            if role is not None
            else invitations.invite_organisation(key, named, expires_ms)
        )
        await operator.perform(made, visit.user.name)
        assert isinstance(made.body, Invite)
        return invitations.code_of(operator.chain, made.body, key, operator.client.address), clock(expires_ms)

    code, until = await visit.feed.use(work)
    text = visit.text(
        "organisations.invited" if role else "organisations.invited-organisation", named=named, until=until
    )
    return Done(Flash("done", text, shlex.join(command), secret=f"swarm join {code}"), PATH)
