"""A person's own account: password, language, appearance, and where the person is logged in."""

from typing import Annotated, Literal

import msgspec
from fastapi import FastAPI, Form

from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.security.passwords import LEAST, MOST, require_good
from swarmlearning.ui.site import Here
from swarmlearning.ui.store.sessions import Session, session_id
from swarmlearning.ui.store.users import UserFault
from swarmlearning.ui.texts.catalogue import LANGUAGES

THEMES = ("light", "dark")
PATH = "/account"


class OwnSession(msgspec.Struct, frozen=True):
    """A session; `here`: the one in which this is shown."""

    session: Session
    here: bool


class AccountView(msgspec.Struct, frozen=True):
    """What a person can see and change of the own account."""

    name: str
    role: str
    language: str
    theme: str
    languages: tuple[str, ...]
    themes: tuple[str, ...]
    least: int
    sessions: list[OwnSession]


def add_account(app: FastAPI) -> None:
    """The page, and its actions."""

    @page(app, PATH, "account.html")
    async def account(visit: Here) -> AccountView:
        user, own = visit.user, session_id(visit.admitted.session)
        found = await visit.site.sessions.of(user.name)
        return AccountView(
            name=user.name,
            role=user.role,
            language=user.language,
            theme=user.theme,
            languages=LANGUAGES,
            themes=THEMES,
            least=LEAST,
            sessions=[OwnSession(each, each.id == own) for each in found],
        )

    @action(app, "/account/preferences", PATH)
    async def prefer(
        visit: Here,
        language: Annotated[Literal["", "en", "de"], Form()] = "",
        theme: Annotated[Literal["", "light", "dark"], Form()] = "",
    ) -> Done:
        await visit.site.users.prefer(visit.user.name, language, theme)
        return Done(Flash("done", visit.text("account.preferred")), PATH)

    @action(app, "/account/password", PATH)
    async def change_password(
        visit: Here,
        old: Annotated[str, Form(max_length=MOST)],
        new: Annotated[str, Form(max_length=MOST)],
        again: Annotated[str, Form(max_length=MOST)],
    ) -> Done:
        site, name = visit.site, visit.user.name
        if not await site.trying.is_right(name, visit.address, old, await site.users.password_of(name)):
            raise UserFault("account.wrong-old", "the present password is another one")
        if new != again:
            raise UserFault("account.differ", "the new password was typed in two ways")
        require_good(new, name)
        await site.users.set_password(name, await site.passwords.hashed(new))
        return Done(Flash("done", visit.text("account.password-changed")), "/login")

    @action(app, "/account/sessions/end", PATH)
    async def end_sessions(visit: Here) -> Done:
        await visit.site.sessions.close_all(visit.user.name)
        return Done(Flash("done", visit.text("account.sessions-ended")), "/login")
