"""`python -m gallery [WORDS]`: runs all set-ups, or those whose names have these words, and prints the table.

Its exit status is 1 if one was judged wrongly.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import gallery.exhibits  # noqa: F401 - adds them
from gallery.stage import EXHIBITS, Exhibit, Stage, Verdict
from support.namespaces import Namespaces
from support.processes import Processes
from support.tools import lacks


def shown(exhibit: Exhibit) -> Verdict:
    """What the doctor says of a set-up."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gallery-")))
        hosts = None
        if exhibit.hosts:
            made = Namespaces(exhibit.hosts, exhibit.names, exhibit.behind, ipv6=exhibit.ipv6)
            hosts = stack.enter_context(made)
        processes = stack.enter_context(Processes(folder))
        stage = Stage(processes, folder, hosts)
        stack.callback(stage.kill_sns)
        return exhibit.run(stage)


def main() -> int:
    """Runs them one after the other: each is timed."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    chosen = [each for each in EXHIBITS if all(word in each.name for word in words)]
    wrong, unrun, begun = 0, 0, time.monotonic()
    print(f"{'set-up':<72} {'named':<20} {'s':>5} {'wall':>5}")
    for each in chosen:
        if reason := next(filter(None, map(lacks, each.needs)), None):
            unrun += 1
            print(f"{each.name:<72} NOT RUN: {reason}", flush=True)
            continue
        try:
            verdict = shown(each)
            fault = each.fault(verdict)
        except Exception as error:  # noqa: BLE001 - the table names it, and goes on
            verdict, fault = Verdict([], 0.0, 0.0, str(error)), f"was not set up: {error!r}"
        wrong += bool(fault)
        judged = f"WRONG: {fault}" if fault else "right"
        print(
            f"{each.name:<72} {verdict.code or 'nothing':<20} {verdict.seconds:5.1f} {verdict.wall:5.1f}  {judged}",
            flush=True,
        )
        if fault and "-v" in sys.argv:
            print(verdict.output)
    total = time.monotonic() - begun
    print(f"gallery: {len(chosen) - wrong - unrun} right, {wrong} wrong, {unrun} not run, in {total:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
