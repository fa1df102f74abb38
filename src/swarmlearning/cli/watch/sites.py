"""The sites of a status as rows, those in trouble first, and a sum of those for which there is no room. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

from swarmlearning.client.pace import describe
from swarmlearning.views.alerts import Alert
from swarmlearning.views.names import displayed
from swarmlearning.views.render import DAY_MS, activity_text
from swarmlearning.views.sizes import size_text
from swarmlearning.views.training import Activity

ACTIVITIES: Final = frozenset(get_args(Activity))


class Row(NamedTuple):
    """A site, or another node in trouble. `rank`: 0 in alarm, 1 with a warning or not there, 2 awaited, 3 well; `does`
    in words, `word` in one; `rounds` it was in, of how many; the machine's figures, empty where not known. `bytes`:
    free disk and memory, None where not known."""

    rank: int
    name: str
    does: str
    word: str
    rounds: str
    disk: str
    memory: str
    clock: str
    days: str
    bytes: tuple[int | None, int | None]


def rows(found: Mapping[str, Any], alerts: Sequence[Alert], now_ms: int) -> list[Row]:
    """All SLs that have not left, and SWOPs in trouble; the worst first, then by name (site-2 before site-10)."""
    severity = {uid: each.severity for each in reversed(alerts) if each.severity != "info" for uid in each.nodes}
    parts = _parts(found)
    shown = [
        _row(node, severity.get(node["uid"], ""), parts.get(node["uid"], ("", "", False)), now_ms)
        for node in found["nodes"]
        if not node["left"] and (node["type"] == "SL" or (node["type"] == "SWOP" and _troubled(node, severity)))
    ]
    return sorted(shown, key=lambda row: (row.rank, len(row.name), row.name))


def summed(left: Sequence[Row]) -> str:
    """One line for these rows: what they do, and the least of their disks and memories."""
    if not left:
        return ""
    words = Counter(row.word for row in left).most_common()
    parts = [", ".join(f"{count} {word}" for word, count in words)]
    for at, name in ((0, "disk"), (1, "memory")):
        known = [free for row in left if (free := row.bytes[at]) is not None]
        if known:
            parts.append(f"{name} from {size_text(min(known))}")
    return f"+ {len(left)} more: {'; '.join(parts)}"


def _troubled(node: Mapping[str, Any], severity: Mapping[str, str]) -> bool:
    return not node["alive"] or node["uid"] in severity


def _parts(found: Mapping[str, Any]) -> dict[str, tuple[str, str, bool]]:
    """By UID: what a member does in its training under way, the rounds that it was in, and whether it is awaited."""
    parts: dict[str, tuple[str, str, bool]] = {}
    for training in sorted(found["trainings"], key=lambda each: not each["over"]):
        waiting = training["waiting"]
        awaited = {each["uid"] for each in waiting["awaited"]} if waiting["phase"] == "collecting" else set()
        activities = training.get("activities", {})
        for member in waiting["participation"]["members"]:
            uid = member["uid"]
            told = activities.get(uid, "")
            rounds = f"{member['contributed']}/{waiting['participation']['rounds']}"
            parts[uid] = (told if told in ACTIVITIES else "", rounds, uid in awaited)
    return parts


def _row(node: Mapping[str, Any], severity: str, part: tuple[str, str, bool], now_ms: int) -> Row:
    activity, rounds, awaited = part
    rank = 0 if severity == "critical" else 1 if severity or not node["alive"] else 2 if awaited else 3
    name = displayed(node["name"])
    vitals = node.get("vitals") or {}
    disk, memory, off = (vitals.get(field) for field in ("disk_free", "memory_free", "clock_ms"))
    ends_ms = node.get("expires_ms")
    return Row(
        rank=rank,
        name=name if node["type"] == "SL" else f"{displayed(node['type'])} {name}",
        does=_does(node, activity, bool(rounds)),
        word=_word(node, activity, bool(rounds)),
        rounds=rounds,
        disk="" if disk is None else size_text(disk),
        memory="" if memory is None else size_text(memory),
        clock="" if off is None else f"{off:+d} ms" if abs(off) < 10_000 else f"{off / 1000:+.0f} s",
        days="" if ends_ms is None else f"{max(0, ends_ms - now_ms) // DAY_MS} d",
        bytes=(disk, memory),
    )


def _word(node: Mapping[str, Any], activity: str, in_training: bool) -> str:
    if not node["alive"]:
        return displayed(node["state"])
    return activity or ("there" if in_training else "without a script")


def _does(node: Mapping[str, Any], activity: str, in_training: bool) -> str:
    if not node["alive"]:
        return f"is {displayed(node['state'])}"
    if activity in ("training", "") and node["training"]:
        return displayed(describe(**node["training"]))
    found: Activity
    for found in get_args(Activity):
        if found == activity:
            return activity_text(found, None).replace(" round None", "")
    return "" if in_training or node["type"] != "SL" else "waits for its script"
