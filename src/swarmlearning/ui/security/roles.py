"""Who may use which path: the one table. What is not in it does not exist for anybody.

A page adds its lines here; `tests/ui/test_roles.py` goes through all routes of the application.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

Role: TypeAlias = Literal["viewer", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""Each may do what those before it may."""
Needed: TypeAlias = Literal["nobody", "viewer", "operator", "admin"]
"""`nobody`: it is for those, too, who have not logged in."""

KIB: Final = 1024
MIB: Final = 1024 * KIB
BODY: Final = 64 * KIB
"""Bytes of a request's body, where a path does not state others."""
LOGIN: Final = 512 * KIB
"""Bytes of a form with a login at hosts (`pages/logins.py`): less than is ever written to a disk."""


class Access(NamedTuple):
    """Who may use a path, and how many bytes a body may have."""

    role: Needed
    body: int = BODY


def json_path(path: str) -> str:
    """Where the data of a page are."""
    return "/overview.json" if path == "/" else f"{path}.json"


def _pages(role: Needed, *paths: str) -> dict[tuple[str, str], Access]:
    """Pages, each with its data as JSON."""
    return {("GET", each): Access(role) for path in paths for each in (path, json_path(path))}


def _acts(role: Needed, *paths: str, body: int = BODY) -> dict[tuple[str, str], Access]:
    """What changes something."""
    return {("POST", path): Access(role, body) for path in paths}


TABLE: Final[Mapping[tuple[str, str], Access]] = {
    # what comes before a login
    ("GET", "/static/{path:path}"): Access("nobody"),
    ("GET", "/healthy"): Access("nobody"),
    ("GET", "/login"): Access("nobody"),
    ("GET", "/first"): Access("nobody"),
    **_acts("nobody", "/login", "/first", body=8 * KIB),
    # everybody
    ("GET", "/events"): Access("viewer"),
    **_acts("viewer", "/logout"),
    **_pages("viewer", "/", "/account", "/ledger", "/ledger/{height:int}"),
    **_acts("viewer", "/account/preferences", "/account/password", "/account/sessions/end"),
    **_pages("viewer", "/training", "/training/{contract:path}"),
    **_pages("viewer", "/experiments", "/experiments/compare", "/experiments/{run:path}"),
    **{("GET", f"/experiments/{each}"): Access("viewer") for each in ("curves", "matrix", "influence", "interval")},
    **{("GET", f"/experiments/{each}"): Access("viewer") for each in ("runs.csv", "runs-all.json")},
    # operators
    ("GET", "/experiments/model"): Access("operator"),
    **_acts("operator", "/experiments/annotate", "/experiments/tag", "/experiments/hide", "/experiments/export"),
    **_acts("operator", "/experiments/fetch", body=LOGIN),
    **_acts("operator", "/ledger/verify"),
    # projects, and what is carried out
    **_pages("viewer", "/projects", "/projects/tasks", "/projects/tasks/task", "/projects/taskrunners"),
    **_pages("viewer", "/projects/contracts", "/projects/approvals", "/projects/{name}", "/projects/{name}/nodes"),
    **_pages("operator", "/projects/logs", "/projects/{name}/file"),
    ("GET", "/projects/logs/more"): Access("operator"),
    **_acts("operator", *(f"/projects/tasks/{act}" for act in ("finalize", "delete", "execute", "target"))),
    **_acts("operator", "/projects/tasks/create", body=2 * MIB),
    **_acts("operator", *(f"/projects/taskrunners/{act}" for act in ("create", "reset", "abort"))),
    **_acts("operator", *(f"/projects/contracts/{act}" for act in ("create", "change", "reset", "stop"))),
    **_acts("operator", "/projects/approvals/answer", "/projects/create"),
    **_acts("operator", *(f"/projects/{{name}}/{act}" for act in ("remove", "macro", "establish", "drop"))),
    **_acts("operator", "/projects/{name}/upload", body=2 * 1024 * MIB),
    **_acts("operator", *(f"/projects/{{name}}/nodes/{act}" for act in ("add", "remove", "host", "host/remove"))),
    **_pages("viewer", "/projects/{name}/deploy"),
    **_acts("operator", *(f"/projects/{{name}}/deploy/{act}" for act in ("carry-out", "start", "stop")), body=LOGIN),
    **_acts("operator", "/projects/{name}/deploy/forget", body=LOGIN),
    # the organisations
    **_pages("viewer", "/organisations"),
    ("GET", "/organisations/requests/{key}"): Access("admin"),
    **_acts("admin", *(f"/organisations/{act}" for act in ("sign", "reject", "policy", "quota", "retire", "revoke"))),
    **_acts("admin", *(f"/organisations/{act}" for act in ("lift", "authority/retire", "withdraw", "certify"))),
    **_acts("admin", *(f"/organisations/{act}" for act in ("invite", "invite-organisation"))),
    **_acts("admin", *(f"/organisations/{act}" for act in ("admit", "authority")), body=256 * KIB),
    # hosts
    **_pages("viewer", "/hosts", "/hosts/keys", "/hosts/{address}"),
    **_pages("operator", "/hosts/{address}/output"),
    **_acts("operator", *(f"/hosts/{act}" for act in ("add", "change", "remove", "forget-login", "keys/ask"))),
    **_acts("operator", *(f"/hosts/{act}" for act in ("keys/confirm", "look", "install", "start", "stop")), body=LOGIN),
    **_acts("admin", "/hosts/keys/forget"),
    **_acts("admin", "/hosts/uninstall", body=LOGIN),
    # long work
    **_pages("viewer", "/jobs", "/jobs/{number:int}"),
    **_acts("operator", "/jobs/{number:int}/cancel"),
    # diagnostics
    **_pages("viewer", "/diagnostics"),
    ("GET", "/diagnostics/archives/{name}"): Access("operator"),
    **_acts("operator", "/diagnostics/examine", "/diagnostics/archives/remove"),
    **_acts("operator", "/diagnostics/collect", body=LOGIN),
    # the first set-up
    **_pages("admin", "/setup", "/setup/{step}"),
    **_acts("admin", *(f"/setup/{act}" for act in ("begin", "organisation", "organisation/discard", "certify"))),
    **_acts("admin", *(f"/setup/{act}" for act in ("hosts", "network", "join"))),
    **_acts("admin", "/setup/install", body=LOGIN),
    **_acts("admin", "/setup/nodes/start", "/setup/nodes/stop"),
    # the UI itself
    **_pages("admin", "/settings"),
    **_acts("admin", "/settings/version"),
    **_acts("admin", "/settings/users", "/settings/users/role", "/settings/users/password", "/settings/users/remove"),
}
"""Method and path as the routes have them. HEAD is as GET."""


def may(role: Role | None, needed: Needed) -> bool:
    """Whether somebody with this role (None: who has not logged in) may use what needs `needed`."""
    if needed == "nobody":
        return True
    return role is not None and ROLES.index(role) >= ROLES.index(needed)


def access(method: str, path: str) -> Access | None:
    """What the table says about a request; None for what is not in it."""
    if not path.isprintable():  # the router's expressions end before a line feed, too
        return None
    method = "GET" if method == "HEAD" else method
    if (exact := TABLE.get((method, path))) is not None:
        return exact
    return next((found for (listed, form), found in _FORMS if listed == method and form.fullmatch(path)), None)


def methods(path: str) -> list[str]:
    """The methods that a path has; none for a path that there is not."""
    return [method for method in ("GET", "POST") if access(method, path) is not None]


_CONVERTERS: Final = {"": r"[^/]+", ":int": r"[0-9]+", ":path": r".*"}


def _form(path: str) -> re.Pattern[str]:
    """A path with parameters as an expression, as the router understands it."""
    parts = re.split(r"\{\w+(:\w+)?\}", path)
    return re.compile(
        "".join(re.escape(part or "") if at % 2 == 0 else _CONVERTERS[part or ""] for at, part in enumerate(parts))
    )


_FORMS: Final = tuple(((method, _form(path)), found) for (method, path), found in TABLE.items() if "{" in path)
