"""`run-slm-ui`: starts the web interface, with the documented ports: HTTPS at 443, and HTTP at 80, which leads there.

There is no database beside it, as the original's has one: what it keeps is in one folder or volume.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from swarmscripts.common import files_of, present
from swarmscripts.containers import Needs
from swarmscripts.errors import ScriptError
from swarmscripts.mounts import Mount, read_mount
from swarmscripts.options import Given, Option
from swarmscripts.runtime import Runtime
from swarmscripts.script import Script, main

STATE, LOGS = "/platform/swarm/SMLNODE", "/platform/swarm/logs"
"""Where the image keeps the UI's data, and its log."""
VOLUME = "slm-ui"
"""Keeps the UI's data where no other place is mounted: users and settings outlive the container."""
HTTPS, HTTP = "443", "80"
INSIDE, INSIDE_HTTP = "30302", "30380"
"""The image's ports: its user may open no lower ones everywhere."""
UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")

FILES = (
    Option("https-cert", "FILE", "certificate for browsers, with intermediates; by default that of --cert"),
    Option("https-key", "FILE", "private key of that certificate"),
    Option("admin-password-file", "FILE", "file whose first line is the password of the first user"),
)
OPTIONS = (
    Option("https-port", "PORT", f"port for browsers, by default {HTTPS}"),
    Option("http-port", "PORT", f"port for HTTP, which leads to HTTPS, by default {HTTP}; 0: none"),
    *FILES,
    Option("admin-user", "NAME", "the first user, an admin, where there is none yet"),
    Option("logs-dir", "DIR", "folder for the log, by default ./logs"),
    Option("host", "ADDRESS", "address of this host to listen on, by default all"),
    Option("behind-proxy", "ADDRESS", "IP address of the reverse proxy in front of it"),
    Option("sn-ip", "HOST", "any SN of the network; without one the UI begins with its set-up"),
    Option("sn-api-port", "PORT", "API port of that SN, by default 30304"),
)
SHORT = {"-l": "--logs-dir", "-pu": "--https-cert", "-pr": "--https-key", "-nw": "--network"}
"""What the original's script has for some of them."""
WITHOUT_EFFECT = {
    "-pw": "there is no database beside it",
    "-po": "there is no database beside it",
    "-ca": "intermediate certificates belong into the file of --https-cert",
}
"""Of the original's, each with a value."""


def check(given: Given) -> None:
    """Raises `ScriptError` for what is wrong."""
    for option in ("https-port", "http-port"):
        port = given.last(option) or "1"
        if not port.isdecimal() or int(port) > 65535 or (option == "https-port" and int(port) == 0):
            raise ScriptError(f"--{option}: {port}: bad port")
    if bool(given.last("https-cert")) != bool(given.last("https-key")):
        raise ScriptError("--https-cert and --https-key belong together: give both, or none")
    if not given.last("https-cert") and not given.last("cert") and "socket-path" not in given:
        raise ScriptError("mandatory parameter --cert or --https-cert not specified: browsers are shown a certificate")
    list(files_of(given, FILES))


def needs(given: Given, runtime: Runtime) -> Needs:
    """The variables, ports and mounts of the container. Raises `ScriptError` for a port that it cannot have."""
    https, http = given.last("https-port") or HTTPS, given.last("http-port") or HTTP
    ports = [(https, INSIDE, "https-port")] + ([(http, INSIDE_HTTP, "http-port")] if http != "0" else [])
    address = f"{given.last('host')}:" if given.last("host") else ""
    if runtime.is_rootless:
        _require_unprivileged([(port, option) for port, _, option in ports])
    files = dict(files_of(given, FILES))
    logs = Path(given.last("logs-dir") or "logs").absolute()
    logs.mkdir(parents=True, exist_ok=True)
    kept = any(read_mount(text).target.rstrip("/") == STATE for text in given.all("volume"))
    environment = present(
        ("SLM_UI_PUBLIC_PORT", https),
        ("SLM_UI_HTTP_PORT", INSIDE_HTTP if http != "0" else ""),
        ("SLM_UI_HTTPS_CERT", str(files.get("https-cert", ""))),
        ("SLM_UI_HTTPS_KEY", str(files.get("https-key", ""))),
        ("SLM_UI_ADMIN_USER", given.last("admin-user")),
        ("SLM_UI_ADMIN_PASSWORD_FILE", str(files.get("admin-password-file", ""))),
        ("SLM_UI_BEHIND_PROXY", given.last("behind-proxy")),
        ("SN_NODE_IP", given.last("sn-ip")),
        ("SN_API_SERVER_PORT", given.last("sn-api-port")),
        ("SWARM_LOG_DIR", LOGS),
    )
    return Needs(
        environment,
        [f"{address}{outside}:{inside}" for outside, inside, _ in ports],
        [
            *(Mount(str(path), str(path), "ro") for path in files.values()),
            Mount(str(logs), LOGS),
            *([] if kept else [Mount(VOLUME, STATE)]),
        ],
    )


def arguments(given: Given) -> Sequence[str]:
    """The options of `swarm ui`."""
    http = given.last("http-port") or HTTP
    found = ["--host", given.last("host") or "0.0.0.0", "--port", given.last("https-port") or HTTPS]
    found += ["--http-redirect-port", http] if http != "0" else []
    for name, path in files_of(given, FILES[:2]):
        found += [f"--{name}", str(path)]
    for name in ("behind-proxy", "sn-ip", "sn-api-port"):
        found += [f"--{name}", given.last(name)] if given.last(name) else []
    return [*found, "--log-dir", str(Path(given.last("logs-dir") or "logs").absolute())]


def variables(given: Given) -> list[tuple[str, str]]:
    """The variables of a process: what is no option of `swarm ui`."""
    file = dict(files_of(given, FILES)).get("admin-password-file")
    return present(("SLM_UI_ADMIN_USER", given.last("admin-user")), ("SLM_UI_ADMIN_PASSWORD_FILE", str(file or "")))


def _require_unprivileged(ports: Sequence[tuple[str, str]]) -> None:
    """Podman as a user opens no ports below the kernel's bound."""
    try:
        first = int(UNPRIVILEGED.read_text())
    except (OSError, ValueError):
        first = 1024
    low = [(port, option) for port, option in ports if int(port) < first]
    if low:
        named = " ".join(f"--{option} {8000 + int(port)}" for port, option in low)
        raise ScriptError(
            f"--{low[0][1]}: {low[0][0]}: podman as a user opens no ports below {first}: name others, such as {named}"
        )


SLM_UI = Script(
    "ui",
    "Starts the web interface (SLM-UI).",
    OPTIONS,
    check,
    needs,
    arguments,
    called="slm-ui",
    variables=variables,
)


def run(words: Sequence[str]) -> int:
    """Returns the exit status."""
    return main(SLM_UI, translated(words))


def translated(words: Sequence[str]) -> list[str]:
    """The words, with the original's options of two letters by their names here."""
    found: list[str] = []
    ahead = list(reversed(words))
    while ahead:
        word = ahead.pop()
        if word == "--":
            return [*found, word, *reversed(ahead)]
        if word in WITHOUT_EFFECT:
            print(f"run-slm-ui: {word}: has no effect: {WITHOUT_EFFECT[word]}", file=sys.stderr)
            del ahead[-1:]
        else:
            found.append(SHORT.get(word, word))
    return found
