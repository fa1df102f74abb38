"""The short form of the story: all hosts are this one."""

from support.checks import Check
from support.tools import needs
from uistory.stage import Place, stage
from uistory.story import tell

pytestmark = [needs("etcd"), needs("views"), needs("root"), needs("chromium"), needs("sshd")]


def test_a_person_does_it_in_the_browser(near: Place, check: Check) -> None:
    with stage(near) as on:
        tell(on, check)
