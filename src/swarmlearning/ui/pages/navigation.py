"""The pages that the navigation leads to, in its order."""

from typing import Final

import msgspec

from swarmlearning.ui.security.roles import access, may
from swarmlearning.ui.site import Visit

ORDER: Final = (
    ("overview", "/"),
    ("training", "/training"),
    ("experiments", "/experiments"),
    ("projects", "/projects"),
    ("organisations", "/organisations"),
    ("hosts", "/hosts"),
    ("jobs", "/jobs"),
    ("ledger", "/ledger"),
    ("diagnostics", "/diagnostics"),
    ("setup", "/setup"),
    ("settings", "/settings"),
)
"""Name of the text and of the icon, and path; pages that there are not yet, or that are not for this person, are left
out."""


class Entry(msgspec.Struct, frozen=True):
    """A link of the navigation; `here`: to the page that is shown, or the one above it."""

    name: str
    path: str
    title: str
    here: bool


def entries(visit: Visit) -> list[Entry]:
    """The links for this person."""
    role, shown = visit.user.role, visit.request.url.path
    return [
        Entry(
            name,
            path,
            visit.text(f"navigation.{name}"),
            f"{shown}/".startswith(f"{path}/"),
        )
        for name, path in ORDER
        if (known := access("GET", path)) is not None and may(role, known.role)
    ]
