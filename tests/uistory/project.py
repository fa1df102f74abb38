"""What a person does with a project in the browser: its files, its nodes, and their deployment to hosts."""

from typing import TYPE_CHECKING, Final

from uistory.actions import go, press
from uistory.files import FAULTY, ROUNDS, SITES, profile_name
from uistory.hosts import end_job, log_in
from uistory.stage import PASSPHRASE, Stage

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROJECT: Final = "thorax"
AT: Final = f"/projects/{PROJECT}"


def make(on: Stage, page: "Page") -> None:
    """A new project with all its files, and its tasks on the ledger."""
    page.get_by_role("link", name="Projects").click()
    page.get_by_label("Name", exact=True).fill(PROJECT)
    press(page, "Create project")
    _upload(page, "profile", on, FAULTY)
    page.locator("#files").get_by_text("line 2").first.wait_for()
    press(page, f"Remove profiles/{FAULTY}")
    page.locator("#files").get_by_text(FAULTY).wait_for(state="detached")
    _upload(page, "profile", on, *map(profile_name, SITES))
    _upload(page, "model", on, "train.sh")
    _upload(page, "authority", on, "authority.pem")
    _upload(page, "task", on, *(f"{name}.yaml" for name in ROUNDS))
    for name in ROUNDS:
        press(page, f"Put task {name} on the ledger, final")
        page.locator("#files tr", has_text=f"tasks/{name}.yaml").get_by_text("on the ledger, final").wait_for()
    on.chromium.shoot(page, "story-project")


def _upload(page: "Page", kind: str, on: Stage, *names: str) -> None:
    page.locator("#field-kind").select_option(kind)
    page.locator("#field-files").set_input_files([on.files / name for name in names])
    press(page, "Upload")
    for name in names:
        page.locator("#files").get_by_role("rowheader", name=name).wait_for()


def place(on: Stage, page: "Page") -> None:
    """A SWOP on each host of the list."""
    go(page, f"{AT}/nodes")
    for taken in range(len(SITES)):
        page.get_by_role("button", name="into the project").first.click()
        page.locator("#hosts tbody tr").nth(taken).wait_for()
    for number in SITES:
        address = on.hosts[number].address.host
        page.locator("#field-kind").select_option("swop")
        page.locator("#field-node").fill(f"SWOP-{number}")
        chosen = page.locator("#field-host option", has_text=address).get_attribute("value")
        page.locator("#field-host").select_option(chosen)
        page.locator("#field-profile").select_option(f"profiles/{profile_name(number)}")
        page.locator("#field-founds-yes").uncheck()
        press(page, "Add node")
        page.locator("#nodes").get_by_role("rowheader", name=f"SWOP-{number}").wait_for()


def deploy(on: Stage, page: "Page") -> None:
    """The project on its hosts: keys are made there, certificates signed, and the SWOPs started."""
    go(page, f"{AT}/deploy")
    log_in(next(iter(on.hosts.values())), page)
    page.get_by_label("Passphrase of the authority").fill(PASSPHRASE)
    press(page, "Deploy")
    end_job(page)
    for number in SITES:
        page.locator("#nodes tr", has_text=f"SWOP-{number}").get_by_text("running").wait_for()
    on.chromium.shoot(page, "story-deployed")
    go(page, "/")
    for number in SITES:
        page.locator("#nodes").get_by_role("rowheader", name=f"SWOP-{number}").wait_for()
