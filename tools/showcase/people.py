"""What the operator of the showcase does in the UI: everything by its own pages and acts, as a person would."""

import asyncio
import shlex
from collections.abc import Callable
from typing import Any, Final

from showcase.hospitals import CONTRACT, HOSPITALS, HOST, OURS, TASKS, TRAIN, Task, policy, task_file
from showcase.network import USER, Showcase
from support.uiapp import Somebody
from swarmlearning.supervise.processes import RunError

PROJECT: Final = "thorax"
README: Final = """# Findings on thorax scans

Three hospitals train one model; no scan leaves its hospital. The scans of this demo are made up.
"""
PAUSE_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 900.0
"""For all nodes to be there, or a training to end, on a machine that has other work."""


class Operator:
    """`USER` in a browser without JavaScript."""

    def __init__(self, shown: Showcase) -> None:
        self._shown = shown
        self._browser = Somebody(base_url=shown.address, timeout=60)

    async def __aenter__(self) -> "Operator":
        await self._browser.__aenter__()
        await self._browser.log_in(USER, self._shown.password)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._browser.aclose()

    async def data(self, path: str) -> Any:
        """The data of a page. Raises `RunError`."""
        answer = await self._browser.get(path, headers={"accept": "application/json"})
        if answer.status_code != 200:
            raise RunError(f"{path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    async def do(self, path: str, /, files: Any = None, **form: Any) -> str:
        """What an act has done. Raises `RunError`."""
        headers = {"accept": "application/json", "x-csrf-token": self._browser.csrf}
        answer = await self._browser.post(path, data=form, files=files, headers=headers)
        if answer.status_code != 200:
            raise RunError(f"{path}: {answer.status_code} {answer.text[:500]}")
        return str(answer.json()["text"])

    async def until(self, path: str, reached: Callable[[Any], bool]) -> Any:
        """The data of a page once they are so. Raises `RunError`."""
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                while True:
                    if reached(data := await self.data(path)):
                        return data
                    await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError:
            raise RunError(f"{path}: after {LONGEST_SECONDS:.0f} s it is still {data}") from None

    # --- the story --------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """A contract for the three hospitals, and a project with the tasks, which are on the ledger then."""
        swops = len(HOSPITALS)
        await self.until("/overview.json", lambda it: sum(each["kind"] == "SWOP" for each in it["nodes"]) == swops)
        await self.do("/projects/contracts/create", name=CONTRACT, member=[each.id for each in HOSPITALS])
        await self.do("/projects/create", name=PROJECT, description="Findings on thorax scans, of three hospitals.")
        await self._upload("readme", "README.md", README)
        await self._upload("model", "train.py", TRAIN.read_text("utf-8"))
        for hospital in HOSPITALS:
            place = self._shown.folder / hospital.swop
            await self._upload("profile", f"{hospital.id}.yaml", (place / "profile.yaml").read_text("utf-8"))
            await self._upload("policy", f"{hospital.id}.yaml", policy(hospital))
        for task in TASKS:
            await self._upload("task", f"{task.name}.yaml", task_file(task, self._shown.folder))
            await self.do(f"/projects/{PROJECT}/establish", path=f"tasks/{task.name}.yaml")
        await self._plan_nodes()

    async def _upload(self, kind: str, name: str, text: str) -> None:
        await self.do(f"/projects/{PROJECT}/upload", kind=kind, files={"files": (name, text.encode())})

    async def _plan_nodes(self) -> None:
        """What the project would deploy to a host of its own: an SL that joins."""
        at = f"/projects/{PROJECT}/nodes"
        await self.do(f"{at}/host", host=OURS.id, address=HOST, root="/opt/hpe/swarm-learning")
        script = shlex.join(("python3", "<PROJECT-MODEL>/train.py", "--contract", CONTRACT))
        await self.do(f"{at}/add", node=f"SL-{OURS.id}-3", kind="sl", host=OURS.id, script=script)

    async def begin(self, task: Task) -> str:
        """Executes a task; the run that it begins has been noted when this returns, which is its name."""
        before = await self._latest()
        await self.do("/projects/tasks/execute", task=task.name, contract=CONTRACT, every="true")
        run = (await self.until("/experiments.json", lambda it: _latest(it["runs"]) > before))["runs"]
        name = f"{CONTRACT}/{_latest(run)}"
        await self.do("/experiments/annotate", run=name, text=task.note)
        await self.do("/experiments/tag", run=name, add=task.tags)
        return name

    async def finish(self, run: str) -> None:
        """Waits until a run is over, and its task too."""
        await self.until(f"/experiments/{run}.json", lambda it: it["view"]["summary"]["state"] == "over")
        await self.until("/projects/taskrunners.json", idle)

    async def _latest(self) -> int:
        return _latest((await self.data("/experiments.json"))["runs"])


def idle(work: Any) -> bool:
    """Whether no taskrunner has a task that is not over, by the data of their page."""
    return all(each["runner"]["status"]["state"] in ("COMPLETE", "ERROR") for each in work["taskrunners"])


def _latest(runs: list[Any]) -> int:
    """The number of the newest run of our contract, 0 before the first."""
    return max((each["run"] for each in runs if each["contract"] == CONTRACT), default=0)
