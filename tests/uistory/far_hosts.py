"""The story with a network of its own for each host: `make e2e-ui`."""

from support.checks import Check
from support.tools import needs
from uistory.stage import Place, stage
from uistory.story import tell

pytestmark = [
    needs("etcd"),
    needs("netns"),
    needs("views"),
    needs("chromium"),
    needs("sshd"),
]


def test_a_person_does_all_of_it_in_the_browser(far: Place, check: Check) -> None:
    with stage(far) as on:
        tell(on, check)
