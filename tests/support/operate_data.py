"""The operators' files in `tests/data/operate`: task files, profiles, policies and SWCI scripts of every form.

`<name>/` has a whole project for each platform, as its owner would hand it round, with placeholders.
"""

import re
from collections.abc import Mapping
from pathlib import Path

OPERATE = Path(__file__).parents[1] / "data" / "operate"
VALUES: Mapping[str, str] = {
    "CURRENT-PATH": "/opt/swarm-learning",
    "PROJECT-CERTS": "/opt/swarm-learning/workspace/cert",
    "PROJECT-CACERTS": "/opt/swarm-learning/workspace/cert/ca/capath",
    "SWARM-NETWORK": "host-1-net",
    "LICENSE-SERVER-ADDRESS": "licenses.example.org",
    "HOST_ADDRESS": "10.0.0.11",
    "HOST-IP": "10.0.0.11",
    "NETWORK-NAME": "rp-net",
    "NETWORK": "spire-net",
    "APLS-IP": "10.0.0.9",
    "Bind9-IP": "10.0.0.2",
    "Host-DNS-IP": "10.0.0.1",
    "WORKING-DIR": "/opt/swarm-learning/workspace/reverse-proxy",
    **{f"{part}-IP-{number}": f"10.0.{place}.{number}" for place, part in enumerate(("SL", "ML")) for number in (1, 2)},
}
"""What a site puts in place of each placeholder."""


def files(pattern: str) -> list[str]:
    """The files that fit, relative to the folder; there is at least one."""
    found = sorted(str(path.relative_to(OPERATE)) for path in OPERATE.glob(pattern) if path.is_file())
    assert found, f"{OPERATE} has no {pattern}"
    return found


def filled_in(name: str) -> bytes:
    """A file's bytes with all placeholders replaced."""
    return re.sub(rf"<({'|'.join(VALUES)})>", lambda found: VALUES[found[1]], raw(name).decode()).encode()


def raw(name: str) -> bytes:
    """A file's bytes as it is handed round."""
    return (OPERATE / name).read_bytes()
