"""The settings of the UI: its users, and what it is: version, certificate, network."""

import shlex
from typing import Annotated

import msgspec
from fastapi import FastAPI, Form

from swarmlearning import __version__
from swarmlearning.ui.licensing import LicenseFacts
from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.hosts import DEFAULT, BundleView, bundle_view
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.security.passwords import LEAST, MOST, require_good
from swarmlearning.ui.security.roles import ROLES, Role
from swarmlearning.ui.site import Here
from swarmlearning.ui.store.hosts import HostFault
from swarmlearning.ui.store.users import LONGEST_NAME, User, require_name

PATH = "/settings"
Name = Annotated[str, Form(max_length=LONGEST_NAME)]
Password = Annotated[str, Form(max_length=MOST)]


class About(msgspec.Struct, frozen=True):
    """What this UI is. `role` is empty without a certificate, which ends at `expires_ms`."""

    version: str
    certificate: str
    role: str
    expires_ms: int | None
    network_id: str
    folder: str


class SettingsView(msgspec.Struct, frozen=True):
    """What an admin can see and change."""

    users: list[User]
    roles: tuple[Role, ...]
    least: int
    about: About
    bundle: BundleView
    license: LicenseFacts


def add_settings(app: FastAPI) -> None:
    """The page, and its actions."""

    @page(app, PATH, "settings.html")
    async def settings(visit: Here) -> SettingsView:
        feed = visit.feed
        about = About(
            version=__version__,
            certificate=feed.name,
            role=feed.role or "",
            expires_ms=feed.expires_ms,
            network_id=feed.chain.network_id,
            folder=str(visit.site.settings.folder),
        )
        users, bundle = await visit.site.users.all(), await bundle_view(visit)
        return SettingsView(users, ROLES, LEAST, about, bundle, visit.site.license.facts)

    @action(app, "/settings/version", PATH)
    async def set_version(visit: Here, bundle: Annotated[str, Form(max_length=200)]) -> Done:
        known = {each.name: each.version for each in (await bundle_view(visit)).all}
        if bundle not in known:
            raise HostFault("settings.no-version", f"there is no bundle {bundle[:100]!r} any more", name=bundle[:100])
        await visit.site.kept.set(DEFAULT, bundle)
        return Done(Flash("done", visit.text("settings.version-set", version=known[bundle])), PATH)

    _add_users(app)


def _add_users(app: FastAPI) -> None:
    @action(app, "/settings/users", PATH)
    async def add(visit: Here, name: Name, password: Password, role: Annotated[Role, Form()] = "viewer") -> Done:
        require_name(name)
        require_good(password, name)
        await visit.site.users.add(name, role, await visit.site.passwords.hashed(password))
        return Done(Flash("done", visit.text("settings.added", name=name)), PATH)

    @action(app, "/settings/users/role", PATH)
    async def change_role(visit: Here, name: Name, role: Annotated[Role, Form()]) -> Done:
        await visit.site.users.set_role(name, role)
        return Done(Flash("done", visit.text("settings.role-changed", name=name)), PATH)

    @action(app, "/settings/users/password", PATH)
    async def reset_password(visit: Here, name: Name, password: Password) -> Done:
        require_good(password, name)
        await visit.site.users.set_password(name, await visit.site.passwords.hashed(password))
        command = shlex.join(("swarm", "ui", "password", name))
        return Done(Flash("done", visit.text("settings.password-set", name=name), command), PATH)

    @action(app, "/settings/users/remove", PATH)
    async def remove(visit: Here, name: Name) -> Done:
        await visit.site.users.remove(name)
        return Done(Flash("done", visit.text("settings.removed", name=name)), PATH)
