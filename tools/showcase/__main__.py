"""`make ui-demo`: the swarm of the showcase trains in the background, and its UI is open, until Ctrl-C."""

import argparse
import asyncio
import os
import secrets
import signal
import sys
import time
import webbrowser
from itertools import cycle
from pathlib import Path
from typing import Final

from showcase.hospitals import HOSPITALS, PAIRS, TASKS
from showcase.network import USER, Showcase, showcase
from showcase.people import Operator
from swarmlearning.errors import UserError, first_cause
from swarmlearning.ui.settings import PORT

RUNS: Final = Path(__file__).parents[2] / "runs"
BETWEEN_SECONDS: Final = 20.0
"""Between two trainings, for a look at the result."""
WORDS: Final = (
    "amber anchor birch canyon cedar copper coral delta ember falcon fjord glacier harbor hazel iris jasper juniper "
    "lagoon lantern linen maple marble meadow mistral nickel ocean olive opal orchid pebble pine plover quartz raven "
    "river saffron sage silver slate sparrow spruce summit thistle timber topaz tulip velvet walnut willow zephyr"
)


def pass_phrase() -> str:
    """One that nobody has had before: it is shown, and stored nowhere but as the UI stores passwords."""
    return "-".join([*(secrets.choice(WORDS.split()) for _ in range(5)), str(secrets.randbelow(900) + 100)])


async def train_on(shown: Showcase) -> None:
    """One training after another, until cancelled."""
    async with Operator(shown) as operator:
        await operator.prepare()
        for task in cycle(TASKS):
            run = await operator.begin(task)
            print(f"{time.strftime('%H:%M:%S')}  run {run} trains: {task.note}", flush=True)
            await operator.finish(run)
            await asyncio.sleep(BETWEEN_SECONDS)


async def demo(options: argparse.Namespace) -> None:
    """Runs until cancelled. Raises `UserError`."""
    folder = options.runs_dir / f"{time.strftime('%Y%m%d-%H%M%S')}-ui"
    print(f"{len(HOSPITALS)} hospitals with {PAIRS} sites are started; their logs are in {folder / 'logs'}", flush=True)
    async with showcase(folder, pass_phrase(), options.port, options.pace) as shown:
        print(f"\nSLM-UI    {shown.address}\nuser      {USER}\npassword  {shown.password}\n", flush=True)
        print("They train one model after another in the background. Ctrl-C ends everything.\n", flush=True)
        if has_display() and not options.no_browser:
            await asyncio.to_thread(webbrowser.open, shown.address)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(shown.processes.watch())
            tasks.create_task(train_on(shown))


def has_display() -> bool:
    """Whether there is a screen on which a browser could open."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


async def until_signal(options: argparse.Namespace) -> None:
    """The demo, which Ctrl-C and SIGTERM end."""
    running = asyncio.ensure_future(demo(options))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        print("\nended; nothing runs any more", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=PORT, help="of the UI (default %(default)s)")
    parser.add_argument("--pace", type=float, default=0.2, help="seconds of a step of training (default %(default)s)")
    parser.add_argument("--runs-dir", type=Path, default=RUNS, help="where its folder is made (default %(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="open no browser")
    options = parser.parse_args()
    failures: list[BaseException] = []
    try:
        asyncio.run(until_signal(options))
    except* UserError as group:
        failures.append(first_cause(group))
    if failures:
        sys.exit(f"ui-demo: {failures[0]}")


if __name__ == "__main__":
    main()
