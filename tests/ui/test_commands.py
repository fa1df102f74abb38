"""Each act shows the command that would do the same, but for those on what the UI alone keeps."""

import ast
from pathlib import Path

import swarmlearning.ui
from swarmlearning.ui.hosts import commands
from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.layout import Layout

PAGES = Path(swarmlearning.ui.__file__).parent / "pages"
OF_THE_UI = {
    "account": {"prefer", "change_password", "end_sessions"},
    "deploying": {"forget"},  # what was deployed, as the UI remembers it
    "diagnosing": {"remove"},  # of its archives
    "hosting": {"change", "remove", "forget_login", "confirm_keys", "forget"},  # its list of hosts, and their keys
    "mlflow": {"export"},  # curves of the UI's records, to somebody's server
    "projectnodes": {"add", "remove", "host", "drop_host"},
    "projects": {"create", "remove", "macro", "upload", "drop"},
    "settings": {"set_version", "add", "change_role", "remove"},
}
"""By module the functions that tell of what only the UI has: users, settings, lists, files of its folder."""


def silent(path: Path) -> set[str]:
    """Functions of a module that tell what was done without a command."""
    found = set[str]()
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef) or "add_" in function.name:
            continue  # the latter have the functions of acts in them
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Name(id="Flash"), args=[ast.Constant(value="done" | "waits"), _], keywords=[]):
                    found.add(function.name)
                case ast.Call(func=ast.Name(id="begun"), args=[_, _], keywords=[]):
                    found.add(function.name)
    return found


def test_only_acts_on_what_the_ui_keeps_have_no_command() -> None:
    found = {path.stem: silent(path) for path in PAGES.glob("*.py")}
    assert {stem: names for stem, names in found.items() if names} == OF_THE_UI


def test_commands_for_hosts_quote_what_people_have_entered() -> None:
    at, layout = Address("10.0.0.9", 2222), Layout("/opt/swarm")
    assert commands.keys_of(at) == "ssh-keyscan -p 2222 10.0.0.9 | ssh-keygen -lf -"
    assert commands.by_ssh(at, "a b; reboot", "true") == "ssh -p 2222 'a b; reboot@10.0.0.9' true"
    assert commands.copying(Address("fd00::7", 22), "ada", "/x y", "/z") == "scp -r -P 22 '/x y' 'ada@[fd00::7]:/z'"
    assert commands.starting(layout, "SN-1", "detached").startswith("setsid sh /opt/swarm/nodes/sn-1/run.sh ")
    started = commands.starting(layout, "SN-1", "user").split()
    stopped = commands.stopping(layout, "SN-1", "user").split()
    assert started[:2] == ["systemd-run", "--user"]
    assert stopped == ["systemctl", "--user", "stop", started[2].removeprefix("--unit=")]
    assert commands.stopping(layout, "SL-1", "detached") == "kill $(cut -d' ' -f1 /opt/swarm/nodes/sl-1/pid)"
    assert "nodes" not in commands.removing(layout, data=False)
    assert "/opt/swarm/nodes" in commands.removing(layout, data=True)
    fetched = commands.fetching(at, "", "/opt/swarm", "a-run1.safetensors")
    assert fetched.startswith("ssh -p 2222 10.0.0.9 'find /opt/swarm -path ")
    assert fetched.endswith(" > a-run1.safetensors")
    assert commands.joined(["x"] * 22).endswith("; x # and 2 more")
