"""What the dashboard shows of a status, for a terminal of any size: what is wrong, rounds, SNs, sites. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from rich.text import Text

from swarmlearning.cli.watch.drawing import Marks, bar, cell, sparkline, wrapped
from swarmlearning.cli.watch.sites import Row, rows, summed
from swarmlearning.operator.asking import Seen
from swarmlearning.views.alerts import Alert
from swarmlearning.views.names import displayed
from swarmlearning.views.pace import USUAL
from swarmlearning.views.render import REASONS, clock, lasting
from swarmlearning.views.told import alerts_of

SEVERE: Final[Mapping[str, tuple[str, str]]] = {
    "critical": ("ALARM", "bold red"),
    "warning": ("WARNING", "yellow"),
}
STYLES: Final = ("bold red", "yellow", "cyan", "")
"""Of sites, by rank."""
LEAST_WIDTH: Final = 40
COLUMN: Final = 78
"""Cells of one column of sites: a wide terminal has several."""
BAR: Final = 24
SHARE: Final = 0.4
"""Of the lines for alerts; sites in trouble are named below, too."""
LEAST_SITES: Final = 3
"""Lines: a head, a site, a sum."""
LONGEST_REASON: Final = 500


class Size(NamedTuple):
    """Cells of a terminal."""

    width: int
    height: int


def lines(seen: Seen, size: Size, now_ms: int, marks: Marks) -> list[Text]:
    """The lines of a screen: no more than there is room for, none wider."""
    width = max(size.width, LEAST_WIDTH)
    if seen.found is None:
        return [Text(cell("asking the SN ...", width, marks).rstrip())]
    alerts = alerts_of(seen.found, now_ms)
    top = [*heading(seen, alerts, width, now_ms, marks)]
    top += alert_lines(alerts, width, max(3, int(SHARE * size.height)), marks)
    names = {node["uid"]: displayed(node["name"]) for node in seen.found["nodes"]}
    sns = _sns(seen.found, width, marks)
    room = size.height - len(top) - len(sns) - LEAST_SITES
    middle = [*training_lines(seen.found, names, width, now_ms, marks, room), *sns]
    below = _sites(rows(seen.found, alerts, now_ms), width, size.height - len(top) - len(middle), marks)
    return [_cut(line, width) for line in [*top, *middle, *below][: size.height]]


def heading(seen: Seen, alerts: Sequence[Alert], width: int, now_ms: int, marks: Marks) -> list[Text]:
    """Which network, as whom sees it, when; and that nobody does, if so."""
    assert seen.found is not None
    number = {severity: sum(each.severity == severity for each in alerts) for severity in SEVERE}
    shown = Text.assemble((displayed(seen.found["network"]), "bold"))
    for severity, (label, style) in SEVERE.items():
        if number[severity]:
            shown.append(f"  {number[severity]} {label}", style)
    if not any(number.values()) and seen.outage is None:
        shown.append("  all is well", "green")
    shown.append(f"  {clock(now_ms)}  SN {displayed(seen.address)}  height {seen.found['height']}", "dim")
    if seen.outage is None:
        return [shown]
    since_ms, reason = seen.outage
    text = f"NO SN ANSWERS since {clock(since_ms)}; what follows was so before. {displayed(reason, LONGEST_REASON)}"
    return [shown, *(Text(each, "bold red") for each in wrapped(text, width, 3, marks))]


def alert_lines(alerts: Sequence[Alert], width: int, most: int, marks: Marks) -> list[Text]:
    """What is wrong, the worst first, each with what to do; and how many more there are."""
    shown, severe = list[Text](), [each for each in alerts if each.severity in SEVERE]
    for at, alert in enumerate(severe):
        label, style = SEVERE[alert.severity]
        block = [Text(each, style) for each in wrapped(f"{label} {alert.text}", width, 3, marks)]
        if alert.remedy:
            block += [Text(f"  {each}", "dim") for each in wrapped(alert.remedy, width - 2, 2, marks)]
        last = at == len(severe) - 1
        if shown and len(shown) + len(block) > most - (not last):
            kinds = ", ".join(f"{count} {code}" for code, count in Counter(each.code for each in severe[at:]).items())
            text = f"+ {len(severe) - at} more, listed by swarm status: {kinds}"
            shown.append(Text(cell(text, width, marks).rstrip(), style))
            break
        shown += block
    return shown


def training_lines(
    found: Mapping[str, Any], names: Mapping[str, str], width: int, now_ms: int, marks: Marks, room: int
) -> list[Text]:
    """Trainings under way, in so many lines: how far the round is, who is in and who is awaited, and how long rounds
    take; where that does not fit, of some the first of these only. Those that wait for longest come first."""
    still = [training for training in found["trainings"] if training["over"] or _rests(training)]
    working = sorted(
        (training for training in found["trainings"] if training not in still),
        key=lambda each: each["waiting"]["since_ms"] if each["waiting"]["since_ms"] is not None else now_ms,
    )
    last = list[Text]()
    if still:
        listed = ", ".join(
            f"{displayed(each['name'])} ({each['rounds']} rounds, {'over' if each['over'] else 'left by all sites'})"
            for each in still
        )
        last = [Text(cell(f"at rest: {listed}", width, marks).rstrip(), "dim")]
    blocks = [_training(training, names, width, now_ms, marks) for training in working]
    for whole in range(len(blocks), -1, -1):
        shown = [line for at, block in enumerate(blocks) for line in (block if at < whole else block[:1])]
        if len(shown) + len(last) <= room:
            return shown + last
    return [*shown[: max(0, room - 1)], Text(f"+ {len(working) - max(0, room - 1)} more trainings", "dim")][:room]


def _rests(training: Mapping[str, Any]) -> bool:
    activities = training.get("activities", {}).values()
    return bool(activities) and all(each == "left" for each in activities)


def _training(
    training: Mapping[str, Any], names: Mapping[str, str], width: int, now_ms: int, marks: Marks
) -> list[Text]:
    waiting, name = training["waiting"], displayed(training["name"])
    if waiting["round"] is None:
        return [Text(each) for each in wrapped(f"{name}: {displayed(training['text'], 1000)}", width, 2, marks)]
    away = sum(each["since_ms"] is not None for each in waiting["awaited"])
    hoped = len(waiting["awaited"]) - away
    merging = waiting["phase"] == "merging"
    parts = (waiting["have"], 0 if merging else hoped, 0 if merging else away)
    leader = names.get(waiting["leader"], displayed(waiting["leader"])) or "nobody"
    doing = f"{leader} merges" if merging else f"led by {leader}"
    head = Text.assemble((name, "bold"), f"  round {waiting['round']}  ")
    head.append(bar(parts, BAR, marks), "green")
    head.append(f"  {waiting['have']}/{sum(parts)} in, minPeers {waiting['need']}, {doing}")
    return [head, *_awaited(waiting, training, names, width, marks), _pace(training, width, now_ms, marks)]


def _awaited(
    waiting: Mapping[str, Any], training: Mapping[str, Any], names: Mapping[str, str], width: int, marks: Marks
) -> list[Text]:
    shown = list[Text]()
    inside = [uid for uid, told in training.get("activities", {}).items() if told == "submitted"]
    if inside:
        text = "  in: " + _listed([names.get(uid, displayed(uid)) for uid in inside], width - 6)
        shown.append(Text(cell(text, width, marks).rstrip(), "green"))
    if waiting["awaited"] and waiting["phase"] != "merging":
        troubled = sorted(waiting["awaited"], key=lambda each: each["reason"] in ("expected", "joining"))
        found = [names.get(each["uid"], displayed(each["uid"])) + _reason(each) for each in troubled]
        text = "  awaited: " + _listed(found, width - 11)
        shown.append(Text(cell(text, width, marks).rstrip(), "yellow"))
    return shown


def _reason(each: Mapping[str, Any]) -> str:
    return "" if each["reason"] == "expected" else f" ({REASONS[each['reason']]})"


def _listed(names: Sequence[str], width: int) -> str:
    """As many names as fit, and how many more there are."""
    ordered = sorted(names, key=lambda name: ("(" not in name, len(name), name))
    for count in range(len(ordered), 0, -1):
        more = f" +{len(ordered) - count}" if count < len(ordered) else ""
        if len(text := ", ".join(ordered[:count]) + more) <= width or count == 1:
            return text
    return ""


def _pace(training: Mapping[str, Any], width: int, now_ms: int, marks: Marks) -> Text:
    taken = training.get("taken_ms", [])
    since_ms = training["waiting"]["since_ms"]
    shown = Text("  rounds", "dim")
    if taken:
        shown.append(" ")
        shown.append(sparkline(taken, min(40, width - 50), marks))
        usual = sorted(taken[-USUAL:])[len(taken[-USUAL:]) // 2]
        shown.append(f" last {lasting(taken[-1])}, usually {lasting(usual)},", "dim")
    if since_ms is not None:
        shown.append(f" this one {lasting(now_ms - since_ms)}", "dim")
    return shown


def _sns(found: Mapping[str, Any], width: int, marks: Marks) -> list[Text]:
    if found["ordering"] != "etcd":
        return []
    parts = []
    for sn in sorted(found["sns"], key=lambda sn: (sn["present"] is not False, sn["name"])):
        lag = f" {sn['lag']} behind" if sn["lag"] else ""
        state = " GONE" if sn["present"] is False else lag
        parts.append(f"{displayed(sn['name'])} {displayed(sn['part'])}{state}")
    gone = any(sn["present"] is False for sn in found["sns"])
    return [Text(cell(f"SNs: {', '.join(parts)}", width, marks).rstrip(), "red" if gone else "dim")]


HEAD: Final = Row(3, "site", "does", "", "rounds", "disk", "memory", "clock", "cert", (None, None))


def _sites(found: Sequence[Row], width: int, height: int, marks: Marks) -> list[Text]:
    """Rows in as many columns as there is room for, and a sum of the others."""
    if not found or height < 2:
        return [Text(summed(found))] if found and height == 1 else []
    columns = max(1, (width + 2) // (COLUMN + 2))
    room = (width + 2) // columns - 2
    tall = height - 1
    fits = found if len(found) <= columns * tall else found[: columns * max(0, tall - 1)]
    deep = -(-len(fits) // columns)
    shown = [_side_by_side([_site(HEAD, room, marks)] * min(columns, max(1, len(fits))), ["dim"] * columns)]
    for at in range(deep):
        side = [fits[column * deep + at] for column in range(columns) if column * deep + at < len(fits)]
        shown.append(_side_by_side([_site(row, room, marks) for row in side], [STYLES[row.rank] for row in side]))
    rest = found[len(fits) :]
    return [*shown, *([Text(cell(summed(rest), width, marks).rstrip(), "dim")] if rest else [])]


def _side_by_side(texts: Sequence[str], styles: Sequence[str]) -> Text:
    line = Text()
    for at, (text, style) in enumerate(zip(texts, styles, strict=False)):
        line.append("  " if at else "")
        line.append(text, style)
    line.rstrip()
    return line


def _site(row: Row, width: int, marks: Marks) -> str:
    fixed = ((row.rounds, 9), (row.disk, 8), (row.memory, 8), (row.clock, 9), (row.days, 7))
    kept = fixed if width >= COLUMN - 2 else fixed[:2]
    left = width - sum(size for _, size in kept)
    name = max(8, left * 2 // 5)
    text = cell(row.name, name - 1, marks) + " " + cell(row.does, left - name, marks)
    return text + "".join(cell(shown, size, marks, right=True) for shown, size in kept)


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="crop")
    return line
