"""What a monitor is told: one line, figures behind a bar, and an exit code."""

from typing import Any

import pytest
from typer.testing import CliRunner

from support.scripted_sn import STATUS
from swarmlearning.api.client import Unavailable
from swarmlearning.cli.checking import CRITICAL, EARLIER, OK, UNKNOWN, WARNING, unknown, verdict
from swarmlearning.cli.main import app
from swarmlearning.cli.options import Credentials
from swarmlearning.cli.status import answer_of
from swarmlearning.errors import UserError

NODE = {"uid": "sl-1", "type": "SL", "name": "SL-1", "alive": True, "left": False}


def told(*severities: str, **changes: Any) -> dict[str, Any]:
    alerts: list[dict[str, Any]] = [
        {"code": "disk", "severity": severity, "subject": "SL-1", "text": f"text {number}", "remedy": "do|it"}
        | {"nodes": [], "since_ms": None}
        for number, severity in enumerate(severities, 1)
    ]
    return STATUS | {"alerts": alerts, "nodes": [NODE]} | changes


@pytest.mark.parametrize(
    ("found", "code", "line"),
    [
        (told(), OK, "SWARM OK - network test: 0 SNs, 1 SL, 0 trainings, 0 rounds | critical=0 warning=0"),
        (told("info"), OK, "SWARM OK - network test"),
        (told("warning"), WARNING, "SWARM WARNING - text 1: do/it | critical=0 warning=1"),
        (told("info", "warning", "critical"), CRITICAL, "SWARM CRITICAL - text 3 (and 1 more): do/it | critical=1"),
        (told(majority=False), CRITICAL, "SWARM CRITICAL - "),
        (told("warning", majority=None), UNKNOWN, "SWARM UNKNOWN - this SN has no vote"),
        (told("critical", majority=None), CRITICAL, "SWARM CRITICAL - text 1"),
        (told(alerts=None), OK, "SWARM OK - network test"),
        (told(alerts=None, alarms=["no|way"]), CRITICAL, "SWARM CRITICAL - no/way | critical=1"),
    ],
)
def test_the_worst_alert_is_the_line_and_decides_the_code(found: dict[str, Any], code: int, line: str) -> None:
    shown = verdict(found, 0)
    assert shown.code == code
    assert shown.text.startswith(line)
    assert shown.text.splitlines()[0].count("|") == 1
    assert (EARLIER in shown.text) == (found["alerts"] is None)


def test_further_alerts_have_a_line_each() -> None:
    assert verdict(told("warning", "critical", "info"), 0).text.splitlines()[1:] == ["warning: text 1: do|it"]


def test_without_a_status_nothing_is_known() -> None:
    assert unknown("no\x1b way |") == (UNKNOWN, "SWARM UNKNOWN - no\\x1b way /")


def test_where_no_sn_answers_it_is_said_what_to_do() -> None:
    async def asked() -> dict[str, Any]:
        raise Unavailable("SN 10.0.0.1:30304 cannot be reached: Connection refused")

    with pytest.raises(UserError, match=r"refused\. Where 10\.0\.0\.1:30304 is the only SN.*start it again"):
        answer_of("10.0.0.1:30304", asked())


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (("--check", "--sn-api-prot", "1"), UNKNOWN, "SWARM UNKNOWN - No such option: --sn-api-prot"),
        (("--sn-api-port", "many", "--check"), UNKNOWN, "SWARM UNKNOWN - "),
        (("--check", "--json"), UNKNOWN, "SWARM UNKNOWN - --json, --check and --watch: only one of them at once"),
        (("--check", "--sn-ip"), UNKNOWN, "SWARM UNKNOWN - Option '--sn-ip' requires an argument."),
        (("--sn-api-prot", "1"), 2, ""),
    ],
)
def test_options_that_cannot_be_used_are_no_alarm_to_a_monitor(words: tuple[str, ...], status: int, line: str) -> None:
    done = CliRunner().invoke(app, ["status", *words])
    assert done.exit_code == status
    assert done.stdout.startswith(line)


def test_a_crash_is_no_warning_to_a_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*given: object) -> dict[str, Any]:
        raise RuntimeError("a bug")

    monkeypatch.setattr("swarmlearning.cli.status._requested", broken)
    monkeypatch.setattr(Credentials, "identity", lambda self: None)
    done = CliRunner().invoke(app, ["status", "--check"])
    assert done.exit_code == UNKNOWN
    assert done.stdout == "SWARM UNKNOWN - this command has failed: RuntimeError('a bug')\n"
