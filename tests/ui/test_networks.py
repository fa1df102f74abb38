"""The web interface in networks as they are: behind nginx, with an SVID, without a majority of SNs, killed itself."""

import json
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from support.agent import Agents, TrustDomain
from support.browser import Chromium
from support.certs import make_workspace
from support.pages import page as documented
from support.ports import fixed_port
from support.processes import Processes
from support.sns import Network
from support.swarm import Swarm
from support.tools import needs
from support.ui import ADMIN, PASSWORD, Person, start_ui
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.spiffe import fetch
from swarmlearning.ledger.contracts import network

if TYPE_CHECKING:
    from playwright.sync_api import Page

NEWS = "ledger,status,nodes"
"""What changes the overview."""
MOST_SECONDS = 20.0
"""For a page while no SN answers: it waits for none. Far above what it takes, on a machine under heavy load."""


# --- a proxy --------------------------------------------------------------------------------------------------------

AROUND = """
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""


def configuration(folder: Path, port: int, ui: int) -> str:
    """That of the documentation, with ports and files of this test."""
    (block,) = [each.text for each in documented("ui").blocks if each.language == "nginx"]
    changes = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/swarm.pem": str(folder / "cert" / "ui-1-cert.pem"),
        "/etc/nginx/swarm-key.pem": str(folder / "cert" / "ui-1-key.pem"),
        "http://127.0.0.1:30302": f"http://127.0.0.1:{ui}",
    }
    for documented_text, own in changes.items():
        assert block.count(documented_text) == 1
        block = block.replace(documented_text, own)
    return AROUND.format(folder=folder, server=block)


@needs("nginx")
def test_behind_nginx_as_documented_people_log_in_act_and_get_news_at_once(tmp_path: Path) -> None:
    identities = make_workspace(tmp_path / "cert", ["SN-1", "SL-1", "UI-1"])
    port, own = fixed_port(), fixed_port()
    with Processes(tmp_path) as processes:
        swarm = Swarm(processes, tmp_path, identities)
        swarm.start_sn()
        flags = ("--http", "--behind-proxy", "127.0.0.2")
        ui = start_ui(processes, tmp_path / "ui", identities["UI-1"], swarm.address, *flags, port=str(own))
        assert ui.address == f"http://127.0.0.1:{own}/"
        (tmp_path / "nginx.conf").write_text(configuration(tmp_path, port, own))
        nginx = shutil.which("nginx")
        assert nginx is not None
        listens(
            processes.start("nginx", nginx, "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-g", "daemon off;"), port
        )
        assert (
            httpx.get(ui.address, headers={"x-forwarded-for": "10.0.0.1"}, timeout=120).status_code == 403
        )  # past the proxy
        with Person(base_url=f"https://127.0.0.1:{port}/", verify=False, timeout=120) as person:
            person.log_in()
            assert {each.name for each in person.cookies.jar} == {"__Host-swarm"}
            with person.stream("GET", "/events?topics=nodes") as stream:
                lines = stream.iter_lines()
                assert next(lines) == "retry: 2000"  # nothing else has been sent by then: nginx holds nothing back
                assert swarm.start_sl(1).ready
                while next(lines) != "event: changed":
                    pass
                assert json.loads(next(lines).removeprefix("data: ")) == ["nodes"]
            assert person.act("/account/preferences", theme="dark").status_code == 303
            foreign = person.post(
                "/account/preferences", data={"csrf": person.csrf}, headers={"origin": "https://evil"}
            )
            assert foreign.status_code == 403
            answer = person.page("/account")
            assert "127.0.0.1" in answer.text  # the browser's address, as nginx has said it
            assert "strict-transport-security" in answer.headers


def listens(process: Any, port: int) -> None:
    """Waits until something answers there."""
    transport = httpx.HTTPTransport(verify=False, retries=10)  # with pauses that grow
    with httpx.Client(transport=transport, timeout=120) as client:
        assert client.get(f"https://127.0.0.1:{port}/healthy").status_code == 200, process.output


# --- an SVID --------------------------------------------------------------------------------------------------------


@pytest.fixture
def agents() -> Iterator[Agents]:
    found = Agents()
    yield found
    found.close()


def test_with_an_svid_the_ui_follows_acts_and_goes_on_when_it_is_renewed(tmp_path: Path, agents: Agents) -> None:
    domain = TrustDomain("hospitals.example")
    own = {"SN-1": agents.start(domain, "sn"), "SL-1": agents.start(domain, "sl"), "UI-1": agents.start(domain, "ui")}
    identities = {name: fetch(agent.socket) for name, agent in own.items()}
    with Processes(tmp_path) as processes:
        swarm = Swarm(processes, tmp_path, identities)
        swarm.start_sn()
        ui = start_ui(processes, tmp_path / "ui", identities["UI-1"], swarm.address)
        with ui.admin() as person:
            person.until("/overview.json", lambda it: bool(it["network"]) and bool(it["nodes"]), NEWS)
            about = person.data("/settings.json")["about"]
            assert (about["certificate"], about["role"]) == ("ui", "UI")
            person.page("/projects/taskrunners")
            made = person.act("/projects/taskrunners/create", name="east")
            assert made.status_code == 303, made.text
            person.until("/projects/taskrunners.json", lambda it: "east" in json.dumps(it), "tasks,ledger")
            shown = person.page("/projects/taskrunners").text
            assert "swarm taskrunner create east" in shown
            before = certificate(ui.address)
            agents.renew()
            new = thumbprint(own["UI-1"].issued[0].certificate)
            swarm.until_chain(lambda chain: new in {each.certificate for each in network.nodes(chain.world)})
            assert person.data("/settings.json")["about"]["expires_ms"] != about["expires_ms"]
            assert certificate(ui.address) != before
            assert person.act("/projects/taskrunners/create", name="west").status_code == 303
            person.until("/projects/taskrunners.json", lambda it: "west" in json.dumps(it), "tasks,ledger")


def certificate(address: str) -> bytes:
    """What browsers are shown."""
    url = httpx.URL(address)
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((url.host, url.port or 443)))


# --- without a majority ---------------------------------------------------------------------------------------------


@needs("etcd")
def test_with_two_of_three_sns_dead_pages_answer_and_say_so(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.variables["SWARM_VITALS"] = "false"  # this machine's disk may be nearly full
        net = Network(processes, tmp_path, sls=1)
        net.found(3)
        identity = make_workspace(tmp_path / "cert", ["UI-1"])["UI-1"]
        ui = start_ui(processes, tmp_path / "ui", identity, net.api(1))
        with ui.admin() as person:
            person.until("/overview.json", lambda it: len(it["nodes"]) >= 3 and it["health"] == "well", NEWS)
            for number in (1, 2):  # the one that the UI talks to is among them
                net.sns[number].kill()
            now = person.until("/overview.json", lambda it: any("majority" in a["text"] for a in it["alerts"]), NEWS)
            assert now["health"] == "critical"
            assert now["outage"] is None  # the third one answers
            paths = (
                "/",
                "/training",
                "/experiments",
                "/projects",
                "/organisations",
                "/ledger",
                "/diagnostics",
                "/jobs",
            )
            for path in (*paths, "/settings", "/account", "/projects/tasks", "/projects/contracts"):
                begun = time.monotonic()
                assert person.page(path).status_code == 200
                assert time.monotonic() - begun < MOST_SECONDS, path
            assert "majority" in person.page("/").text
            assert person.act("/diagnostics/examine").status_code == 303
            found = person.until("/diagnostics.json", lambda it: it["examined"] is not None, "jobs")["examined"]
            first = found["wrong"][0]
            assert first["code"] == "no-majority"
            said = f"{first['subject']} {first['text']}"
            assert "SN-1" in said
            assert "SN-2" in said


# --- the UI itself --------------------------------------------------------------------------------------------------


def test_an_open_page_recovers_when_the_ui_was_killed_and_runs_again(tmp_path: Path, chromium: Chromium) -> None:
    identities = make_workspace(tmp_path / "cert", ["SN-1", "SL-1", "UI-1"])
    port = str(fixed_port())
    with Processes(tmp_path) as processes:
        swarm = Swarm(processes, tmp_path, identities)
        swarm.start_sn()
        ui = start_ui(processes, tmp_path / "ui", identities["UI-1"], swarm.address, port=port)

        def story(page: "Page") -> None:
            page.goto(ui.address)
            page.get_by_label("User name").fill(ADMIN)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            page.locator("#nodes").get_by_text("SN-1").first.wait_for()
            page.wait_for_load_state()  # with its scripts: without them no page notices anything
            page.evaluate("window.same = true")
            ui.process.kill()
            page.locator("#live-note").get_by_text("connection").wait_for()
            again = start_ui(processes, tmp_path / "ui", identities["UI-1"], swarm.address, port=port)
            assert again.address == ui.address
            assert swarm.start_sl(1).ready
            page.locator("#nodes").get_by_text("site-1").first.wait_for()
            page.locator("#live-note.flash").wait_for(state="detached")
            assert page.evaluate("window.same") is True  # it was not loaded anew

        chromium.run(story, ignore_https_errors=True, allowed=("ERR_", "Failed to load resource"))
