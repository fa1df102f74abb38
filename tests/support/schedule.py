"""Plugin of pytest: the order of the tests, and the time that each room took.

Tests that failed in recent runs come first; then the pure rooms, which take milliseconds a test; then all others, the
files with the slowest tests first, so that the workers of pytest-xdist end at about the same time. The history of
earlier runs lies in pytest's cache; a new clone, such as that of CI, has none, and goes by `LONG`.

Each worker gets one test after another, but all tests of a file in `TOGETHER`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]

PURE = (
    "ledger",
    "rounds",
    "tensors",
    "merge",
    "channel",
    "simulation",
    "documents",
    "taskfiles",
    "executor",
    "privacy",
)
"""Rooms whose tests start no process and open no socket: with the files beside the rooms all that `--pure` runs."""

LONG = {
    "tests/uistory/test_near.py": 138.0,
    "tests/cli/test_examples.py": 116.0,
    "tests/client/test_keras.py": 91.0,
    "tests/ui/test_networks.py": 86.0,
    "tests/cli/test_demo.py": 82.0,
    "tests/sn/test_api_limits.py": 81.0,
    "tests/system/test_moving.py": 73.0,
    "tests/ui/hosts/test_hosts_story.py": 72.0,
    "tests/bench/test_ui.py": 70.0,
    "tests/system/test_operate_example.py": 70.0,
    "tests/system/test_chaos.py": 70.0,
    "tests/operate/test_processes.py": 70.0,
    "tests/system/test_showcase.py": 66.0,
    "tests/ui/setup/test_setup_in_browser.py": 65.0,
    "tests/ui/setup/test_setting_up.py": 65.0,
    "tests/system/test_collecting.py": 58.0,
    "tests/system/test_walkthrough.py": 58.0,
    "tests/docs/test_pages.py": 54.0,
    "tests/system/test_swop.py": 44.0,
    "tests/system/test_relay.py": 42.0,
    "tests/ui/pages/test_pages_in_browser.py": 41.0,
    "tests/system/test_rolling_upgrade.py": 40.0,
    "tests/client/test_huggingface.py": 39.0,
}
"""Files whose slowest test takes so many seconds, beside three others on two cores."""

WAITING = {
    "tests/scripts/test_images.py": 60.0,
    "tests/system/test_operate_containers.py": 60.0,
}
"""Files whose tests need the images that `make test` builds meanwhile, and what they count for in the order: a worker
that comes too early waits for them, however fast the others are."""

TOGETHER = {
    "tests/client/test_torch_ranks.py": 60.0,
    "tests/system/test_distributions.py": 60.0,
    "tests/ui/test_diagnosing.py": 30.0,
    "tests/ui/test_live.py": 40.0,
    "tests/ui/test_many_rounds.py": 40.0,
}
"""Files whose fixture of all their tests takes seconds of CPU time, which every worker would spend that runs one of
them, and the seconds of all their tests."""

FAILURES_KEPT = 0.8
"""The share of a test's count of failures that each further run leaves."""

History = Mapping[str, tuple[float, float]]
"""By test: its count of failures, in which recent ones weigh more, and the seconds of its last run."""

CACHE = "swarm/history"
HISTORY = pytest.StashKey[History]()


def in_order(tests: Iterable[str], history: History) -> list[str]:
    """Returns these node IDs in the order in which they are to run."""
    known = {_file(test) for test in history}
    slowest = defaultdict(float, {file: seconds for file, seconds in LONG.items() if file not in known})
    for test, (_, seconds) in history.items():
        slowest[_file(test)] = max(slowest[_file(test)], seconds)
    slowest.update(WAITING | TOGETHER)

    def key(test: str) -> tuple[float, bool, float]:
        failures, _ = history.get(test, (0.0, 0.0))
        if _is_pure(_file(test)):
            return -failures, False, 0.0
        return -failures, True, -slowest[_file(test)]

    return sorted(tests, key=key)


def updated(history: History, outcomes: Mapping[str, tuple[bool, float]]) -> History:
    """Returns the history after a run; `outcomes` are, by test, whether it failed and its seconds."""
    newest = {
        test: (round(history.get(test, (0.0, 0.0))[0] * FAILURES_KEPT + failed, 3), round(seconds, 2))
        for test, (failed, seconds) in outcomes.items()
    }
    return {**history, **newest}


def up_to_the_end(tests: Sequence[str], pending: Sequence[int], count: int) -> int:
    """Returns how many pending tests, by their place among all, go to a worker that asks for so many: it gets all of a
    file in `TOGETHER` that it begins."""
    while 0 < count < len(pending):
        file = _file(tests[pending[count - 1]])
        if file not in TOGETHER or file != _file(tests[pending[count]]):
            break
        count += 1
    return count


def room_of(test: str) -> str:
    """Returns the folder below `tests` that a test lies in; `.` for those beside the rooms."""
    folders = _file(test).split("/")[1:-1]
    return folders[0] if folders else "."


def _file(test: str) -> str:
    return test.partition("::")[0]


def _is_pure(file: str) -> bool:
    return room_of(file) in (*PURE, ".")


# --- pytest's hooks -------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pure", action="store_true", help=f"run only the tests of {', '.join(PURE)}")


def pytest_configure(config: pytest.Config) -> None:
    from_controller = getattr(config, "workerinput", {}).get(CACHE)
    cache = getattr(config, "cache", None)  # none with `-p no:cacheprovider`
    config.stash[HISTORY] = from_controller or (cache.get(CACHE, {}) if cache else {})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """That of `--dist load`, which sends the tests of a file in `TOGETHER` to one worker."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler.load import LoadScheduling  # type: ignore[import-untyped]  # only where workers are

    class Scheduling(LoadScheduling):  # type: ignore[misc]
        def _send_tests(self, node: Any, num: int) -> None:
            super()._send_tests(node, up_to_the_end(self.collection or [], self.pending, num))

    return Scheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Gives each worker of pytest-xdist the controller's history: all have to find the same order."""
    node.workerinput[CACHE] = node.config.stash[HISTORY]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_room = collection_path.parent == TESTS and collection_path.is_dir()
    return True if config.getoption("pure") and is_room and collection_path.name not in PURE else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    by_id = {item.nodeid: item for item in items}
    items[:] = [by_id[test] for test in in_order(by_id, config.stash[HISTORY])]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the seconds of each room, and keeps the history for the next run."""
    reports = [
        report for found in terminalreporter.stats.values() for report in found if isinstance(report, pytest.TestReport)
    ]
    seconds: defaultdict[str, float] = defaultdict(float)
    failed = {report.nodeid for report in reports if report.failed}
    for report in reports:
        seconds[report.nodeid] += report.duration
    rooms: defaultdict[str, float] = defaultdict(float)
    for test, spent in seconds.items():
        rooms[room_of(test)] += spent
    terminalreporter.section("seconds a room")
    for room, spent in sorted(rooms.items(), key=lambda item: -item[1]):
        terminalreporter.write_line(f"{spent:8.1f}  {room}")
    if cache := getattr(config, "cache", None):
        outcomes = {test: (test in failed, spent) for test, spent in seconds.items()}
        cache.set(CACHE, updated(config.stash[HISTORY], outcomes))
