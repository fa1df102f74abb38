"""How a site is, for operators who may read its logs: its script, its GPUs, and the structure of its model."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from swarmlearning.node.checkup import LONGEST_STRUCTURE, Site
from swarmlearning.sl.mlside import MLSide

if TYPE_CHECKING:
    import psutil  # imported when a doctor asks: an SL does without it

VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
NONE = ("", "-1", "none", "void", "NoDevFiles")
DEVICES = ("nvidia[0-9]*", "kfd")


def site_of(ml: MLSide, license_fault: str = "") -> Site:
    """How it is now; `license_fault`: why its license is not renewed. Blocks while it looks at the script's process."""
    session, pid = ml.session, ml.channel.process
    structure = ml.known.last.text if session is not None else ""
    return Site(
        contract=session.training_contract[:500] if session is not None else "",
        script=state_of_process(pid),
        gpu=gpu_of_process(pid),
        license=license_fault[:500],
        structure=structure if len(structure) <= LONGEST_STRUCTURE else "",
    )


def state_of_process(pid: int) -> Literal["", "running", "stopped"]:
    """Whether a process was stopped, as by SIGSTOP; empty where there is none, or it is not seen."""
    if not pid:
        return ""
    import psutil

    with suppress(psutil.Error):
        stopped = psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        return "stopped" if stopped else "running"
    return ""


def gpu_of_process(pid: int, dev: Path = Path("/dev")) -> Literal["", "used", "unused", "hidden", "missing"]:
    """Whether a process uses a GPU; empty where it has none and was not told to use one, or is not seen."""
    if not pid:
        return ""
    import psutil

    there = any(True for pattern in DEVICES for _ in dev.glob(pattern))
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        told = [value for name, value in process.environ().items() if name in VARIABLES]
        if any(value.strip() in NONE for value in told):
            return "hidden" if there else ""
        if not there:
            return "missing" if told else ""
        used = any(Path(each.path).match(f"{dev}/{pattern}") for each in process.open_files() for pattern in DEVICES)
        return "used" if used or _maps_driver(process) else "unused"
    return ""


def _maps_driver(process: "psutil.Process") -> bool:
    """True if it has loaded the library of a GPU's driver and opened its device."""
    import psutil

    with suppress(psutil.Error, OSError, AttributeError):
        return any("/dev/nvidia" in each.path or "/dev/kfd" in each.path for each in process.memory_maps())
    return False
