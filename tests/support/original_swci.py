"""The original's Python client of SWCI's web mode, reduced to its requests as they are specified.

Written from the specification alone: it imports nothing of this project. It does not verify the server.
"""

from pathlib import Path

import requests
import urllib3

SECONDS = 60


class Swci:
    """Sends commands; `error` is the last one that SWCI has answered."""

    def __init__(self, host: str, port: int, cert: Path, key: Path) -> None:
        self._url = f"https://{host}:{port}"
        self._cert = (str(cert), str(key))
        self.error = ""
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def command(self, text: str) -> list[str]:
        """The lines of all strings, without their margins; none for an error."""
        try:
            answer = requests.post(
                f"{self._url}/exec?cmd={text}", cert=self._cert, verify=False, timeout=SECONDS
            ).json()
        except Exception:  # noqa: BLE001 - as the original
            self.error = "ERROR : Exception occurred during POST request"
            return []
        if not answer:
            self.error = "ERROR : Command did not produce output"
            return []
        lines = []
        for each in answer["CONTENT"]:
            if each.startswith("ERROR "):
                self.error = each
                return []
            lines += [line.strip() for line in each.split("\n")]
        return lines

    def upload(self, path: Path) -> str:
        """The reply to a file."""
        with path.open("rb") as file:
            answer = requests.post(
                f"{self._url}/uploadTaskDef", files={"file": file}, cert=self._cert, verify=False, timeout=SECONDS
            )
        return answer.text

    def register(self, name: str) -> str:
        """The task that an uploaded file defines, final; empty where that fails."""
        for line in self.command(f"create task from {name}"):
            if line.startswith("Task Registered : "):
                task = line.split(":")[1].strip()
                self.command(f"finalize task {task}")
                return task
        return ""

    def state(self, taskrunner: str) -> str:
        """What stands behind the first colon of the line with `TASK_STATE`."""
        for line in self.command(f"get taskrunner status {taskrunner}"):
            if "TASK_STATE" in line:
                return line.split(":", 1)[1].strip()
        return ""

    def nodes(self) -> list[dict[str, str]]:
        """Type, IP and so on of each node, from what `list Nodes` prints below its heading."""
        names = ("type", "ip", "port", "container", "uuid", "parent", "alive")
        rows = [line.split(",") for line in self.command("list Nodes")[1:]]
        return [dict(zip(names, row, strict=True)) for row in rows]
