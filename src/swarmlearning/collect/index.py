"""`index.html`: what is wrong, what is missing, the timeline, the nodes and their files, on one page without a network.

The page has no script and loads nothing (its content security policy says so to the browser), so nothing that another
organisation has written can do anything in it; all of it is escaped besides.
"""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final
from urllib.parse import quote

from swarmlearning.collect.content import Content, Entry, Source
from swarmlearning.collect.drawing import COLOURS, LED, LOST, ROUND, SUBMITTED, drawing
from swarmlearning.collect.style import STYLE, shown
from swarmlearning.views.chronicle import Chronicle, Event
from swarmlearning.views.render import clock
from swarmlearning.views.sizes import size_text

MOST_SHOWN: Final = 500
"""Events in the table, the newest."""
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


KEY: Final = {
    "round": ROUND,
    "model in": SUBMITTED,
    "led the merge": LED,
    "warning": COLOURS["warning"],
    "fault": COLOURS["fault"],
    "lost": LOST,
}


def page(content: Content) -> str:
    """The page. Everything in it is escaped here."""
    return "".join(
        (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{shown(content.title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{shown(content.title)}</h1>",
            f'<p class="dim">Collected {shown(content.made)}. Times are in UTC.</p>',
            _facts(content.facts),
            *_wrong(content),
            *_missing(content),
            *_timeline(content.chronicle),
            *_sources(content),
            *_events(content.chronicle),
            "</body></html>\n",
        )
    )


def _wrong(content: Content) -> Iterator[str]:
    faults = [event for event in content.chronicle.events if event.level == "fault"] if content.chronicle else []
    if content.alerts:
        yield f'<div class="box bad"><b>Wrong now</b>{_list(content.alerts)}</div>'
    if faults and content.chronicle:
        newest = [_event_line(event, content.chronicle) for event in faults[-3:][::-1]]
        more = f" (the newest {len(newest)} of {len(faults)})" if len(faults) > len(newest) else ""
        yield f'<div class="box warn"><b>Faults on the ledger{more}</b>{_list(newest)}</div>'
    if not content.chronicle:
        yield '<div class="box warn"><b>No ledger is in this archive</b><p>Look into the logs below.</p></div>'
    elif not content.alerts and not faults:
        yield '<div class="box"><b>No fault stands on the ledger</b><p>Look into the logs below.</p></div>'


def _missing(content: Content) -> Iterator[str]:
    lacking = [f"{what}: {why}" for what, why in content.missing.items()]
    lacking += [line for source in content.sources for line in source.lacking]
    if lacking:
        yield f'<div class="box warn"><b>Not in this archive</b>{_list(lacking)}</div>'


def _timeline(chronicle: Chronicle | None) -> Iterator[str]:
    if chronicle is None or chronicle.last < 0:
        return
    yield "<h2>Rounds and faults</h2>"
    yield (
        f'<p class="dim">Blocks {chronicle.first} to {chronicle.last} of the ledger, {clock(chronicle.first_ms)} to '
        f"{clock(chronicle.last_ms)}. Point at a mark to read what it is.</p>"
    )
    key = "".join(f'<span style="background:{colour}"></span>{shown(name)}' for name, colour in KEY.items())
    yield f'<p class="key dim">{key}</p>'
    yield f'<div class="draw">{drawing(chronicle)}</div>'


def _sources(content: Content) -> Iterator[str]:
    yield "<h2>Nodes and files</h2>"
    columns = list(dict.fromkeys(name for source in content.sources for name in source.facts))
    if content.sources:
        head = "".join(f"<th>{shown(name)}</th>" for name in ("", *columns, "files"))
        yield f"<table><tr>{head}</tr>{''.join(_row(source, columns) for source in content.sources)}</table>"
    if content.entries:
        yield f"<h3>Of all</h3><p>{_links(content.entries)}</p>"


def _row(source: Source, columns: Iterable[str]) -> str:
    cells = "".join(f"<td>{shown(source.facts.get(name, ''))}</td>" for name in columns)
    return f"<tr><td><b>{shown(source.name)}</b></td>{cells}<td>{_links(source.entries) or '<i>nothing</i>'}</td></tr>"


def _events(chronicle: Chronicle | None) -> Iterator[str]:
    if chronicle is None or not chronicle.events:
        return
    newest = list(chronicle.events)[-MOST_SHOWN:][::-1]
    more = f", the newest {len(newest)} of {len(chronicle.events)}" if len(newest) < len(chronicle.events) else ""
    yield f"<h2>Events{more}</h2><table><tr><th>time</th><th>block</th><th>node</th><th>what</th><th>training</th></tr>"
    for event in newest:
        training = f"{event.contract}{'' if event.round is None else f', round {event.round}'}"
        yield (
            f'<tr class="{event.level}"><td class="time">{shown(clock(event.time_ms))}</td><td>{event.height}</td>'
            f"<td>{shown(chronicle.name(event.uid))}</td><td>{shown(event.text)}</td><td>{shown(training)}</td></tr>"
        )
    yield "</table>"


def _event_line(event: Event, chronicle: Chronicle) -> str:
    where = f" (round {event.round} of {event.contract})" if event.round is not None else ""
    return f"{clock(event.time_ms)}  {chronicle.name(event.uid)} {event.text}{where}"


def _facts(facts: dict[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{shown(name)}</dt><dd>{shown(value)}</dd>' for name, value in facts.items())}</dl>"


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{shown(line)}</li>' for line in lines)}</ul>"


def _links(entries: Iterable[Entry]) -> str:
    return "<br>".join(
        f'<a href="{escape(quote(entry.name))}">{shown(entry.name.rpartition("/")[2])}</a> '
        f'<span class="size">{size_text(entry.size)}{f", {shown(entry.note)}" if entry.note else ""}</span>'
        for entry in sorted(entries, key=lambda entry: (not entry.name.endswith(".log"), entry.name))
    )
