"""Names of nodes as they may be shown: a name is free text that another organisation has chosen."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.world import World

LONGEST = 64
UID_DIGITS = 8
LONGEST_PERSON = 100

Names: TypeAlias = Mapping[str, str]
"""UID to the name to show."""


def node_names(world: World) -> Names:
    """The names of all registered nodes, safe to show."""
    return world.derived("node/", Node, names_of)


def names_of(nodes: Sequence[Node]) -> Names:
    """The names of these nodes; those that share a name are distinguished by their UIDs.

    One that is there keeps its plain name beside nodes of its own certificate that have left: a SWOP starts a site's SL
    anew for each training.
    """
    sharing = defaultdict[str, list[Node]](list)
    for known in nodes:
        sharing[displayed(known.name)].append(known)
    return {uid: shown for name, those in sharing.items() for uid, shown in _told_apart(name, those)}


def _told_apart(name: str, those: Sequence[Node]) -> Iterator[tuple[str, str]]:
    there = [known for known in those if not known.left]
    own = len({(known.organisation, known.subject) for known in those}) == 1
    plain = those if len(those) == 1 else there if own and len(there) == 1 else ()
    for known in those:
        yield known.uid, name if known in plain else f"{name} ({displayed(known.uid)[:UID_DIGITS]})"


def fetch_addresses(world: World) -> Names:
    """UID to the address at which others fetch models from the node, safe to show."""
    found = {known.uid: known.addresses.get("fs", "") for known in network.nodes(world)}
    return {uid: displayed(address) for uid, address in found.items() if address}


def name_of(names: Names, uid: str) -> str:
    """The name to show for this UID; a UID without one is shown itself."""
    return names.get(uid) or displayed(uid)


def for_person(person: str) -> str:
    """` (for Dr. Ada)`, where an operator has acted on behalf of somebody; else nothing."""
    return f" (for {displayed(person, LONGEST_PERSON)})" if person else ""


def displayed(text: str, longest: int = LONGEST) -> str:
    r"""One line from untrusted text: control, format and bidirectional marks escaped (`\u202e`), a long one cut."""
    return escaped(text if len(text) <= longest else text[: longest - 3] + "...")


def escaped(text: str, keep: str = "") -> str:
    r"""The text with every character escaped that is neither printable nor in `keep` (`\n`, `\x1b`, `\u202e`)."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
