"""`gen-cert`: a certificate authority for trying out and the certificates of one host's nodes, by openssl."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from swarmscripts.errors import ScriptError

COMPONENTS = ("sn", "sl", "swop", "swci")
AUTHORITY_DAYS, DAYS = 3650, 365
USAGE = """Usage: gen-cert -e EXAMPLE -i HOSTIDX

Makes a certificate authority and certificates for SN, SL, SWOP and SWCI of one host, in workspace/EXAMPLE/cert.

  -e EXAMPLE   name of the example
  -i HOSTIDX   number of the host: of several hosts each has its own
  --help       show this text"""

_EXTENSIONS = """
subjectKeyIdentifier = hash
basicConstraints = critical, CA:{ca}
keyUsage = critical, digitalSignature, keyCertSign
subjectAltName = DNS:{name}
"""


def run(words: Sequence[str]) -> int:
    """Returns the exit status."""
    if list(words) in (["--help"], ["-h"]):
        print(USAGE)
        return 0
    given = dict(zip(words[::2], words[1::2]))  # noqa: B905 - a last word without a partner is a fault
    example, index = given.get("-e", ""), given.get("-i", "")
    if len(words) != 4 or not (example and index):
        print(f"Some or all of the parameters are empty\n{USAGE}", file=sys.stderr)
        return 1
    try:
        generate(Path("workspace", example, "cert"), index)
    except ScriptError as error:
        print(f"gen-cert: {error}", file=sys.stderr)
        return 1
    return 0


def generate(root: Path, index: str) -> None:
    """Makes the files of host `index` below `root`. Raises `ScriptError`."""
    if not index.isalnum() or not index.isascii():
        raise ScriptError(f"-i: {index}: use letters and digits")
    if shutil.which("openssl") is None:
        raise ScriptError("openssl is not on the PATH: install it, or use `swarm cert`")
    capath = root / "ca" / "capath"
    capath.mkdir(parents=True, exist_ok=True)
    key, certificate = root / "ca" / f"ca-{index}-key.pem", capath / f"ca-{index}-cert.pem"
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "openssl.cnf")
        _configure(configuration, f"CA-{index}", "TRUE", "")
        request = ("req", "-new", "-newkey", "rsa:2048", "-nodes", "-config", str(configuration), "-extensions", "own")
        _openssl(*request, "-x509", "-days", str(AUTHORITY_DAYS), "-keyout", str(key), "-out", str(certificate))
        for component in COMPONENTS:
            signing = Path(folder, "request.pem")
            name = f"{component.upper()}-{index}"
            _configure(configuration, name, "FALSE", "authorityKeyIdentifier = keyid:always, issuer\n")
            _openssl(*request[:7], "-keyout", str(root / f"{component}-{index}-key.pem"), "-out", str(signing))
            serial = ("-CAserial", str(root / "ca" / f"ca-{index}-srl.srl"), "-CAcreateserial")
            authority = ("-CA", str(certificate), "-CAkey", str(key), *serial, "-days", str(DAYS))
            extensions = ("-extfile", str(configuration), "-extensions", "own")
            own = str(root / f"{component}-{index}-cert.pem")
            _openssl("x509", "-req", "-in", str(signing), *authority, *extensions, "-out", own)
    for path in (key, *(root / f"{component}-{index}-key.pem" for component in COMPONENTS)):
        path.chmod(0o600)


def _configure(file: Path, name: str, ca: str, more: str) -> None:
    file.write_text(
        "[req]\nprompt = no\ndistinguished_name = subject\n"
        f"[subject]\nOU = Swarm-Learning\nCN = {name}\n[own]{_EXTENSIONS.format(ca=ca, name=name)}{more}"
    )


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise ScriptError(f"openssl {arguments[0]}: {done.stderr.strip()}")
