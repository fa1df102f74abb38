"""What a person does with hosts in the browser: add them, compare their keys, install the product on all of them."""

from typing import TYPE_CHECKING, Final

from support.sshd import PASSWORD, USER, SshHost
from uistory.actions import go, press

if TYPE_CHECKING:
    from playwright.sync_api import Page

JOB_MS: Final = 240_000.0
"""For an installation from a real bundle on a machine under heavy load."""


def add(host: SshHost, page: "Page") -> None:
    """Adds a host, and says that the key that it shows is right."""
    go(page, "/hosts")
    page.get_by_label("Addresses").fill(str(host.address))
    page.locator("#add-user").fill(USER)
    page.get_by_label("Folder of the product").fill(host.prefix)
    press(page, "Add hosts")
    end_job(page)
    page.get_by_label(f"The fingerprint of {host.address} is right").check()
    log_in(host, page)
    press(page, "Confirm the selected keys")
    end_job(page)


def install(hosts: list[SshHost], version: str, page: "Page") -> None:
    """Installs this version on all of them at once."""
    go(page, "/hosts")
    for host in hosts:
        page.get_by_label(f"Select {host.address}").check()
    log_in(hosts[0], page)
    press(page, f"Install or upgrade to {version}")
    end_job(page)
    go(page, "/hosts")
    for host in hosts:
        page.locator(f'[id="host-{host.address}"]').get_by_text(version, exact=True).wait_for()


def log_in(host: SshHost, page: "Page") -> None:
    """Gives the login of a host, in whichever form asks for it."""
    if USER == "root":
        page.locator("#login-password").fill(PASSWORD)
    else:
        page.get_by_text("Private key instead of a password").click()
        page.get_by_label("Or paste the key").fill(host.login.key.reveal() if host.login.key else "")


def end_job(page: "Page") -> None:
    """Waits for the end of the job whose page this is, and goes on."""
    further = page.get_by_role("link", name="Continue")
    further.wait_for(timeout=JOB_MS)
    page.locator("#how").get_by_text("done", exact=True).wait_for()
    further.click()
