"""Names of nodes as they may be shown: a name is free text that another organisation has chosen."""

from collections import Counter
from collections.abc import Mapping, Sequence
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
    """The names of all registered nodes, safe to show; nodes that share a name are distinguished by their UIDs."""
    return world.derived("node/", Node, _names)


def _names(nodes: Sequence[Node]) -> Names:
    shown = {known.uid: displayed(known.name) for known in nodes}
    times = Counter(shown.values())
    return {uid: name if times[name] == 1 else f"{name} ({displayed(uid)[:UID_DIGITS]})" for uid, name in shown.items()}


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
