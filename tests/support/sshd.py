"""Hosts with a real SSH server, each in namespaces of its own: its processes end with it, and its `/etc/shadow`, `/run`
and interpreter are its own, so that nothing of this machine is changed or met.

Without root a host is sshd alone, and everything in it is the user's who runs the tests.
"""

import os
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import asyncssh

from support.ports import fixed_port
from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.logins import Login, Secret

SSHD: Final = "/usr/sbin/sshd"
START_SECONDS: Final = 150.0
USER: Final = "root" if os.geteuid() == 0 else os.environ.get("USER", "")
PASSWORD: Final = "correct horse battery"

_CONFIG: Final = """
Port {port}
ListenAddress {host}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication {password}
KbdInteractiveAuthentication no
SetEnv PATH={folder}/bin:/usr/local/bin:/usr/bin:/bin HOME={folder}/home
MaxStartups 100
Subsystem sftp internal-sftp
LogLevel INFO
"""

_INSIDE: Final = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /run/user/0 {more}
chmod 700 /run/user/0
mount --bind {folder}/shadow /etc/shadow
mount -t tmpfs tmpfs /var/lib/systemd
mkdir -p /var/lib/systemd/linger
"""
_SYSTEMD: Final = """
touch /var/lib/systemd/linger/root
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/{group}
echo $$ > /sys/fs/cgroup/{group}/cgroup.procs
XDG_RUNTIME_DIR=/run/user/0 unshare --cgroup /lib/systemd/systemd --user --unit=basic.target --log-target=console &
"""


class SshHost:
    """A host on loopback, or in the network of `within` (a command that runs another there). A context manager.

    `python`: whether it has an interpreter. `systemd`: whether it has a systemd of its user (needs root).
    """

    def __init__(
        self, folder: Path, *, python: bool = True, systemd: bool = False, at: Address | None = None,
        within: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.folder = folder
        self.address = at or Address("127.0.0.1", fixed_port())
        self.prefix = str(folder / "opt" / "swarm")
        self._python, self._systemd, self._within = python, systemd, within
        self._group = f"swarm-test-{os.getpid()}-{self.address.port}"
        self._server: subprocess.Popen[bytes] | None = None
        self._make()

    @property
    def login(self) -> Login:
        """Of its user by a private key."""
        return Login(USER, key=Secret((self.folder / "user_key").read_text()))

    @property
    def password_login(self) -> Login:
        """Of its user by a password; for root only."""
        return Login(USER, password=Secret(PASSWORD))

    def change_key(self) -> None:
        """Gives it another host key, as one that was set up anew; it takes effect at its next start."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        path = self.folder / "host_key"
        path.write_bytes(key.export_private_key("openssh"))
        path.chmod(0o600)

    def _make(self) -> None:
        for name in ("bin", "home", "opt"):
            (self.folder / name).mkdir(parents=True)
        self.change_key()
        user = asyncssh.generate_private_key("ssh-ed25519")
        (self.folder / "user_key").write_bytes(user.export_private_key("openssh"))
        (self.folder / "authorized_keys").write_bytes(user.export_public_key("openssh"))
        settings = {"port": self.address.port, "host": self.address.host, "folder": self.folder}
        may = "yes" if os.geteuid() == 0 else "no"
        (self.folder / "sshd_config").write_text(_CONFIG.format(**settings, password=may))
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True
        ).stdout
        (self.folder / "shadow").write_text(f"root:{hashed.strip()}:19000:0:99999:7:::\n")
        if self._python:
            version = "python{}.{}".format(*sys.version_info)
            (self.folder / "bin" / version).symlink_to(Path(sys.base_prefix, "bin", version))

    def start(self) -> None:
        """Starts the server, and waits until it listens."""
        reader, writer = os.pipe()
        try:
            self._server = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=writer, stderr=writer)
        finally:
            os.close(writer)
        said, deadline = b"", time.monotonic() + START_SECONDS
        while b"Server listening" not in said:
            assert select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0], said
            piece = os.read(reader, 65536)
            assert piece, said.decode()
            said += piece
        self._log = reader

    def stop(self) -> None:
        """Ends the server; as root all that runs on the host ends with it."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            os.close(self._log)
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._systemd:
            _remove_group(self._group)

    def _command(self) -> list[str]:
        sshd = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        if os.geteuid() != 0:
            return sshd
        more = "/run/systemd/system" if self._systemd else ""
        script = _INSIDE.format(folder=shlex.quote(str(self.folder)), more=more)
        if not self._python:
            script += "for each in /usr/bin/python3.*[0-9]; do mount --bind /dev/null $each; done\n"
        if self._systemd:
            script += _SYSTEMD.format(group=self._group)
        own = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "--kill-child"]
        return [*self._within, *own, "sh", "-c", f"{script}exec {shlex.join(sshd)}"]


@cache
def lacks_sshd() -> str | None:
    """The reason why there can be no such host; None where there can."""
    return None if shutil.which(SSHD) else "sshd is missing: apt-get install openssh-server"


def _remove_group(name: str) -> None:
    """Removes the control groups that systemd has made; empty ones are left to the next start of the machine."""
    script = (
        f"mount -t cgroup2 none /mnt; find /mnt/{name} -depth -type d -exec rmdir {{}} + 2>/dev/null; umount /mnt; true"
    )
    subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], check=False)
