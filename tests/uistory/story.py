"""What a person does in the browser with a swarm, and what may happen meanwhile."""

import io
import re
import tarfile
from functools import partial
from typing import TYPE_CHECKING, Final

from support.browser import barriers
from support.checks import Check
from support.ui import ADMIN, PASSWORD
from swarmlearning import __version__
from swarmlearning.ui.security.roles import TABLE
from uistory import hosts, project
from uistory.actions import go, press
from uistory.files import HOLD, MARKUP, SITES
from uistory.hosts import end_job
from uistory.project import PROJECT
from uistory.stage import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Page

VIEWER: Final = "vera"


def tell(on: Stage, check: Check) -> None:
    """All of it, in its order."""
    with check("an admin signs in, and sees the SNs of the network"):
        on.tab.run(partial(sign_in, on.ui.address))
        on.tab.run(see_sns)
    with check(f"two hosts are added by SSH, their keys compared, and the product is installed {on.from_bundle}"):
        for each in on.hosts.values():
            on.tab.run(partial(hosts.add, each))
        on.tab.run(partial(hosts.install, list(on.hosts.values()), __version__))
    with check("a project is made of files; a fault in one is shown with its line; its tasks go on the ledger"):
        on.tab.run(partial(project.make, on))
    with check("it is deployed to both hosts: their SWOPs have keys that were made there, and join the network"):
        on.tab.run(partial(project.place, on))
        on.tab.run(partial(project.deploy, on))
    with check("a task is executed, and its page shows each round while it is trained, without being loaded again"):
        on.tab.run(partial(execute, "first"))
        on.tab.run(watch_begin)
    with check("the SN that the UI talks to is killed while it is trained: the same page goes on, to the end"):
        go_on_without_the_first_sn(on)
    with check("a second run is compared with the first: curves over each other, and what differs"):
        on.tab.run(partial(execute, "second"))
        on.tab.run(see_end)
        on.tab.run(compare)
    with check("what a script has printed is shown in its log, and runs nowhere"):
        on.tab.run(read_log)
    with check("the logs of all nodes are collected into one archive, which is downloaded"):
        collect(on)
    with check("a node whose name is a script is shown by that name on each page, and it runs nowhere"):
        show_markup(on)
    with check("a viewer sees, and is refused each act of operators and admins, by the whole table"):
        on.tab.run(add_viewer)
        refuse_viewer(on)


# --- what a person does ----------------------------------------------------------------------------------------------


def sign_in(address: str, page: "Page") -> None:
    page.goto(address)
    page.get_by_label("User name").fill(ADMIN)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview", exact=True).wait_for()


def see_sns(page: "Page") -> None:
    for name in ("SN-1", "SN-2", "SN-3"):
        page.locator("#nodes").get_by_role("rowheader", name=name).wait_for()
    assert barriers(page) == []


def execute(task: str, page: "Page") -> None:
    go(page, "/projects/tasks")
    form = page.locator("#execute")
    form.get_by_label("Task", exact=True).select_option(task)
    form.get_by_label("Peers needed").fill(str(len(SITES)))
    press(page, "Execute")
    page.get_by_text(f"Task {task} is assigned to taskrunner").wait_for()
    page.locator(".command code", has_text="swarm taskrunner assign").first.wait_for()


def until_rounds(count: int, page: "Page") -> None:
    """Until so many rounds are over."""
    tile = page.locator("#figures .tile", has=page.get_by_text("Rounds", exact=True))
    tile.locator(".figure", has_text=re.compile(rf"^\s*{count}\s*$")).wait_for()


def watch_begin(page: "Page") -> None:
    """Until the scripts wait at the gate for the first time."""
    page.get_by_role("link", name="Training", exact=True).click()
    page.locator("#main table a").first.click()
    page.evaluate("stays = true")
    until_rounds(HOLD, page)
    for name in SITES.values():
        page.locator("#sites").get_by_role("rowheader", name=name).wait_for()


def see_end(page: "Page") -> None:
    go(page, "/training")
    page.locator("#main table a").first.click()
    page.locator("#sentence", has_text="training is over").wait_for()


def compare(page: "Page") -> None:
    page.get_by_role("link", name="Experiments").click()
    boxes = page.locator("#runs input[type=checkbox]")
    for number in range(2):
        boxes.nth(number).check()
    page.get_by_role("button", name="Compare").click()
    for number in (1, 2):
        page.locator("swarm-lines").get_by_role("button", name=f"/{number}").wait_for()
    page.locator("#differing-card tr", has_text="epochs").wait_for()
    assert barriers(page) == []


def read_log(page: "Page") -> None:
    go(page, "/projects/logs")
    page.locator('#choose a[href*="part=ML"]').first.click()
    page.locator("#log", has_text=MARKUP).wait_for()
    assert nothing_ran(page)


def collect(on: Stage) -> None:
    def story(page: "Page") -> bytes:
        go(page, "/diagnostics")
        press(page, "Collect logs")
        end_job(page)
        page.wait_for_load_state()
        with page.expect_download() as download:
            page.locator("#archives a[download]").first.click()
        return download.value.path().read_bytes()

    with tarfile.open(fileobj=io.BytesIO(on.tab.run(story))) as archive:
        names = archive.getnames()
    for each in ("SN-2", "SN-3", *(f"SWOP-{number}" for number in SITES)):
        assert any(each.lower() in name.lower() for name in names), (each, names)


def add_viewer(page: "Page") -> None:
    page.get_by_role("link", name="Settings").click()
    form = page.locator("#add")
    form.get_by_label("Name").fill(VIEWER)
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_label("Role").select_option("viewer")
    form.get_by_role("button", name="Add").click()
    page.locator("#users").get_by_text(VIEWER, exact=True).wait_for()


def nothing_ran(page: "Page") -> bool:
    """Whether none of the markup has become part of a page, or a script."""
    ran: bool = page.evaluate("typeof hit !== 'undefined' || document.querySelector('img[src=x]') !== null")
    return not ran


# --- what happens meanwhile ------------------------------------------------------------------------------------------


def go_on_without_the_first_sn(on: Stage) -> None:
    on.net.sns[1].kill()
    on.gate.let(len(SITES))
    on.tab.run(partial(until_rounds, HOLD + 1))
    on.gate.let(len(SITES))

    def end(page: "Page") -> None:
        page.locator("#sentence", has_text="training is over").wait_for()
        assert page.evaluate("typeof stays") == "boolean", "the page was loaded again"
        on.chromium.shoot(page, "story-training")

    on.tab.run(end)
    assert on.net.start(1).ready  # SWOPs give the SN that they were given to the SLs that they start


def show_markup(on: Stage) -> None:
    host = 2
    place = on.net.hosts.address(host)
    options = on.net.sl_options(4, node_name=MARKUP, host_ip=place, sn_ip=place, sn_api_port=str(on.net.ports[host]))
    sl = on.net.processes.node("SL-4", "sl", options, within=on.net.hosts.command(host))
    assert sl.ready

    def see(page: "Page") -> None:
        go(page, "/")
        page.locator("#nodes").get_by_text(MARKUP, exact=True).wait_for()
        for path in ("/", "/ledger", "/projects/logs", "/organisations", "/ledger?search=register"):
            go(page, path)
            assert nothing_ran(page), path

    on.tab.run(see)
    sl.stop()


def refuse_viewer(on: Stage) -> None:
    with on.ui.somebody() as vera:
        vera.log_in(VIEWER)
        wrong = []
        for (method, path), access in TABLE.items():
            if access.role not in ("operator", "admin"):
                continue
            at = re.sub(r"\{\w+(:int)?\}", lambda found: "1" if found[1] else PROJECT, path)
            answer = vera.get(at) if method == "GET" else vera.act(at)
            if answer.status_code != 403:
                wrong.append(f"{method} {at}: {answer.status_code}")
        assert wrong == []
        assert vera.page("/projects/tasks").status_code == 200
        assert "/projects/tasks/execute" not in vera.page("/projects/tasks").text
