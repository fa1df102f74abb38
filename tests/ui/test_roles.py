"""The one table of who may use which path, beside all routes that the application has."""

from pathlib import Path

import pytest
from starlette.routing import Mount, Route

from swarmlearning.ui.app import make_app
from swarmlearning.ui.security.roles import ROLES, TABLE, Role, access, may, methods
from swarmlearning.ui.settings import UiSettings
from swarmlearning.ui.site import Site
from swarmlearning.ui.store.database import Database

FOR_NOBODY = {
    *(("GET", "/static/{path:path}"), ("GET", "/healthy"), ("GET", "/login"), ("POST", "/login")),
    *(("GET", "/first"), ("POST", "/first")),  # with the token of a link that is good once, while there is no user
}


def routes(folder: Path) -> set[tuple[str, str]]:
    """Method and path of all routes."""
    with Database(folder) as database:
        found = make_app(Site(UiSettings(folder), database)).routes
    made = set[tuple[str, str]]()
    for route in found:
        if isinstance(route, Mount):
            made.add(("GET", f"{route.path}/{{path:path}}"))
        else:
            assert isinstance(route, Route), f"{route}: of a kind that this test does not know"
            made |= {(method, route.path) for method in (route.methods or set()) - {"HEAD"}}
    return made


def test_every_route_is_in_the_table_and_nothing_else(tmp_path: Path) -> None:
    assert routes(tmp_path) == set(TABLE)


def test_what_changes_something_is_a_post_and_only_a_login_and_the_first_user_are_open_to_all() -> None:
    assert {method for method, _ in TABLE} == {"GET", "POST"}
    assert {key for key, found in TABLE.items() if found.role == "nobody"} == FOR_NOBODY


@pytest.mark.parametrize("end", ["\n", "\r\n", "\x00", "\u2028"])
def test_no_path_has_another_role_with_an_end_that_routers_overlook(end: str) -> None:
    """`$` of an expression matches before a line feed: the route of a page for operators would be found."""
    for method, path in TABLE:
        assert access(method, f"{path.replace('{', '').replace('}', '').replace(':int', '')}{end}") is None


@pytest.mark.parametrize("area", ["/settings", "/setup"])
def test_users_settings_and_the_set_up_of_the_ui_are_for_admins(area: str) -> None:
    of_settings = [found.role for (_, path), found in TABLE.items() if path.startswith(area)]
    assert of_settings
    assert set(of_settings) == {"admin"}


@pytest.mark.parametrize("role", [None, *ROLES])
def test_a_role_may_do_what_lower_ones_may(role: Role | None) -> None:
    rank = ROLES.index(role) if role else -1
    assert may(role, "nobody")
    assert [may(role, needed) for needed in ROLES] == [at <= rank for at in range(len(ROLES))]


@pytest.mark.parametrize(
    "path",
    [
        *("/Settings", "/settings/", "//settings", "/settings/x", "/ledger/x", "/ledger/-1", "/ledger/1/", "/.json"),
        *("", "/login.json", "/static", "/ledger/1.json/x", "/ledger/\u0661x", "/account\n", "/ledger/1\n"),
    ],
)
def test_what_is_not_in_the_table_does_not_exist(path: str) -> None:
    assert access("GET", path) is None
    assert methods(path) == []


def test_a_path_with_parameters_is_found_and_head_is_as_get() -> None:
    assert access("HEAD", "/ledger/12") == access("GET", "/ledger/12") == TABLE["GET", "/ledger/{height:int}"]
    assert access("GET", "/ledger/12.json") == TABLE["GET", "/ledger/{height:int}.json"]
    assert access("DELETE", "/") is None
    assert methods("/login") == ["GET", "POST"]
