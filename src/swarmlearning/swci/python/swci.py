"""`Swci`: SWCI's commands as methods, with the names of the original's Python client.

A method returns the lines that its command prints. Where a command fails it returns an empty list, logs why, and keeps
the reason for `getErrors`.
"""

import logging
import sys
from collections.abc import Sequence
from time import sleep
from typing import Final

from swarmlearning.swci.python.connection import Connection, NoOutputError, SwciError, read_file, tls_context
from swarmlearning.swci.python.topology import FIELDS, Topology, draw, nodes_of

PORT: Final = 30306
TASKRUNNER: Final = "defaulttaskbb.taskdb.sml.hpe"
CONTRACT: Final = "defaultbb.cqdb.sml.hpe"
OVER: Final = ("COMPLETE", "ERROR", "IDLE")
NO_OUTPUT: Final = "ERROR : Command did not produce output"
NO_ANSWER: Final = "ERROR : Exception occurred during POST request"


class Swci:
    """A client of an SWCI in web mode, which it connects to as an operator of SWCI's own organisation."""

    def __init__(
        self,
        swciIp: str,
        port: int = PORT,
        clientCert: str | None = None,
        clientPKey: str | None = None,
        clientCABundle: str | None = None,
        logger: logging.Logger | None = None,
        logLv: int = logging.WARNING,
        enableCaching: bool = True,
        verify: bool = True,
    ) -> None:
        """`clientCert`, `clientPKey`, `clientCABundle`: files (PEM) with an operator's certificate and key, and the
        certificate of the authority that has issued SWCI's. `enableCaching`: what seldom changes is asked for once.
        `verify` False connects to whoever answers there, which may read and forge everything.

        Raises `RuntimeError` for arguments that are missing or cannot be used.
        """
        if not swciIp:
            raise SwciError("SWCI IP not provided!")
        if type(port) is not int:
            raise SwciError("SWCI Port not Integer!")
        if not clientCert or not clientPKey:
            raise SwciError("clientCert and clientPKey are missing: SWCI answers holders of an operator's certificate")
        if verify and not clientCABundle:
            raise SwciError("clientCABundle is missing: the file with the certificate of SWCI's authority")
        tls = tls_context(str(clientCert), str(clientPKey), str(clientCABundle or ""), verify=verify)
        self._connection = Connection(swciIp, port, tls)
        self._caching = enableCaching
        self._cache: dict[str, list[str]] = {}
        self._error = ""
        self.logger = logger or _own_logger()
        self.logger.setLevel(logLv)

    # --- the session ------------------------------------------------------------------------------------------------

    def setLogLevel(self, logLv: int) -> None:
        """Sets how much is logged, such as `logging.INFO`."""
        self.logger.setLevel(logLv)

    def getErrors(self) -> str:
        """Why the last command has failed; empty where it has not."""
        return self._error

    def clearCache(self) -> None:
        """Forgets what has been kept of earlier answers."""
        self._cache.clear()

    def ls(self, optStr: str = "") -> list[str]:
        """Files in SWCI's current directory."""
        return self._ask(f"ls {optStr}".strip())

    def pwd(self) -> list[str]:
        """SWCI's current directory."""
        return self._ask("pwd")

    def cd(self, dirPath: str) -> list[str]:
        """Changes SWCI's current directory, within its user directory."""
        return self._ask(f"cd {dirPath}")

    def sleep(self, timeInSec: float) -> list[str]:
        """Waits so many seconds."""
        return self._ask(f"sleep {timeInSec}")

    # --- contexts ---------------------------------------------------------------------------------------------------

    def createContext(
        self, ctxName: str, ip: str | None = None, port: int = 30304, service: str | None = None
    ) -> list[str]:
        """Creates a context for the API server of the SN at `ip` and `port`, or behind `service`."""
        where = f"service {service}" if service else f"ip {ip} {port}"
        return self._change(f"create context {ctxName} with {where}")

    def switchContext(self, ctxName: str) -> list[str]:
        """Makes a context the one that commands are for."""
        return self._change(f"switch context {ctxName}")

    def getContextInfo(self, ctxName: str = "") -> list[str]:
        """API server and network of a context, by default of the one in use."""
        return self._keep(f"get context info {ctxName}".strip())

    def listContexts(self) -> list[str]:
        """The contexts."""
        return self._keep("list contexts")

    # --- training contracts -----------------------------------------------------------------------------------------

    def createTrainingContract(self, ctName: str) -> list[str]:
        """Creates a training contract of all organisations."""
        return self._change(f"create contract {ctName}")

    def listTrainingContracts(self) -> list[str]:
        """The training contracts."""
        return self._keep("list contracts")

    def getTrainingContractInfo(self, ctName: str = CONTRACT) -> list[str]:
        """What a training contract lays down."""
        return self._keep(f"get contract info {ctName}")

    def getTrainingContractStatus(self, ctName: str = CONTRACT) -> list[str]:
        """The present state of a training contract."""
        return self._ask(f"get contract status {ctName}")

    def resetTrainingContract(self, ctName: str = CONTRACT) -> list[str]:
        """Empties a training contract whose training is over."""
        return self._change(f"reset contract {ctName}")

    def perfData(self, ctName: str = CONTRACT) -> list[str]:
        """Loss, metric and epochs of each pair of a training."""
        return self._ask(f"perfdata {ctName}")

    # --- tasks ------------------------------------------------------------------------------------------------------

    def uploadTaskDefintion(self, taskFilePath: str) -> str:
        """Uploads a file to SWCI's current directory; the reply, or an empty text. The name is the original's."""
        self._error = ""
        try:
            return self._connection.upload(*read_file(taskFilePath))
        except SwciError as error:
            self._fail(f"{NO_ANSWER} : {error}")
            return ""

    uploadTaskDefinition = uploadTaskDefintion

    def createTaskFrom(self, yamlFileName: str) -> list[str]:
        """Creates the task that an uploaded file defines."""
        return self._change(f"create task from {yamlFileName}")

    def registerTask(self, yamlFileName: str, finalize: bool = True) -> bool:
        """Creates the task of an uploaded file, and makes it final; True if both were done."""
        mark = "Task Registered : "
        name = next((line.removeprefix(mark) for line in self.createTaskFrom(yamlFileName) if mark in line), "")
        return bool(name) and (not finalize or bool(self.finalizeTask(name)))

    def finalizeTask(self, taskName: str) -> list[str]:
        """Makes a task final, so that it can be assigned."""
        return self._change(f"finalize task {taskName}")

    def deleteTask(self, taskName: str) -> list[str]:
        """Deletes a task that is not final."""
        return self._change(f"delete task {taskName}")

    def listTasks(self) -> list[str]:
        """The tasks."""
        return self._keep("list tasks")

    def getTaskInfo(self, taskName: str) -> list[str]:
        """Type, author, prerequisite and outcome of a task."""
        return self._keep(f"get task info {taskName}")

    def getTaskBody(self, taskName: str) -> list[str]:
        """The body of a task."""
        return self._keep(f"get task body {taskName}")

    # --- taskrunners ------------------------------------------------------------------------------------------------

    def listTaskRunners(self) -> list[str]:
        """The taskrunners."""
        return self._keep("list taskrunners")

    def getTaskRunnerInfo(self, trName: str = TASKRUNNER) -> list[str]:
        """Who has created a taskrunner, and when."""
        return self._keep(f"get taskrunner info {trName}")

    def getTaskRunnerStatus(self, trName: str = TASKRUNNER) -> list[str]:
        """Task, state and counts of peers of a taskrunner."""
        return self._ask(f"get taskrunner status {trName}")

    def getTaskRunnerPeerStatus(self, trName: str = TASKRUNNER, idx: int | str = 0) -> list[str]:
        """The part of one SWOP, by its index or UID."""
        return self._ask(f"get taskrunner peer status {trName} {idx}")

    def getTaskRunnerPeerLogs(
        self, trName: str = TASKRUNNER, idx: int | str = 0, part: str = "", pair: int | None = None
    ) -> list[str]:
        """The last lines of the log of a SWOP, or of the output of a pair that it has started: `part` is `SL` or `ML`,
        `pair` its number where there are several. Not one of the original's."""
        words = ("logs taskrunner", trName, "peer", idx, part, "" if pair is None else pair)
        return self._lines(" ".join(str(each) for each in words if each != ""))

    def assignTask(self, taskName: str, trName: str = TASKRUNNER, peers: int = 1) -> list[str]:
        """Assigns a task to so many peers: SL-ML pairs for RUN_SWARM, else SWOPs."""
        return self._change(f"assign task {taskName} to {trName} with {peers} peers")

    def assignTaskToAll(self, taskName: str, trName: str = TASKRUNNER) -> list[str]:
        """Assigns a task to all peers that listen. Not one of the original's."""
        return self._change(f"assign task {taskName} to {trName} with all peers")

    def assignTaskToTarget(self, taskName: str, swop: str, trName: str = TASKRUNNER) -> list[str]:
        """Assigns a task to one SWOP, by its UID or name: it joins in, or tries again. Not one of the original's."""
        return self._change(f"assign task {taskName} to {trName} target {swop}")

    def resetTaskRunner(self, trName: str = TASKRUNNER) -> list[str]:
        """Makes a taskrunner idle; its SWOPs remove what they have started."""
        return self._change(f"reset taskrunner {trName}")

    def isTaskDone(self, trName: str = TASKRUNNER) -> bool:
        """True if nothing more is to be expected of a task: it is complete, has failed, or there is none."""
        return _state(self.getTaskRunnerStatus(trName)) in OVER

    def executeTask(
        self,
        taskName: str,
        tr: str = TASKRUNNER,
        peers: int = 1,
        pollWaitInSec: float = 120,
        resetTROnSuccess: bool = True,
    ) -> bool:
        """Assigns a task, waits until it is over, prints how it went, and makes the taskrunner idle where it is
        complete; True then. It asks every `pollWaitInSec` seconds, and ends where SWCI does not answer."""
        if not self.assignTask(taskName, tr, peers):
            return False
        while (state := _state(status := self.getTaskRunnerStatus(tr))) not in (*OVER, ""):
            sleep(pollWaitInSec)
        swops = min(peers, int(_field(status, "ENROLLED SWOPS") or 0))
        shown = [status, *(self.getTaskRunnerPeerStatus(tr, index) for index in range(swops))]
        print("\n".join(line for lines in shown for line in lines))
        if state == "COMPLETE" and resetTROnSuccess:
            self.resetTaskRunner(tr)
        return state == "COMPLETE"

    # --- nodes ------------------------------------------------------------------------------------------------------

    def listNodes(self) -> list[str]:
        """The nodes at work: a heading, then a line of seven fields with commas between them for each."""
        return self._ask("list Nodes")

    def plotTopology(
        self,
        SNColour: str = "#ADD8E6",
        SWOPColor: str = "#33FF33",
        SLColor: str = "#FFCCCB",
        attrs: Sequence[str] = (),
    ) -> Topology | None:
        """A picture of the nodes at work, which a notebook shows; None where SWCI does not answer.

        `attrs`: what labels have besides kind and address, of `Port`, `ContainerName`, `UUID`, `parentUUID` and
        `i-am-alive`. Needs networkx and matplotlib. Raises `RuntimeError` for other attributes.
        """
        if unknown := sorted(set(attrs) - set(FIELDS)):
            raise SwciError(f"nodes have no {', '.join(unknown)}; there are {', '.join(FIELDS)}")
        lines = self.listNodes()
        return draw(nodes_of(lines), {"SN": SNColour, "SW": SWOPColor, "SL": SLColor}, attrs) if lines else None

    # --- requests ---------------------------------------------------------------------------------------------------

    def _change(self, command: str) -> list[str]:
        """A command after which earlier answers may be wrong."""
        self._cache.clear()
        return self._ask(command)

    def _keep(self, command: str) -> list[str]:
        """A command whose answer is kept until something is changed."""
        if self._caching and command in self._cache:
            self._error = ""
            return list(self._cache[command])
        lines = self._ask(command)
        if self._caching and lines:
            self._cache[command] = list(lines)
        return lines

    def _ask(self, command: str) -> list[str]:
        """The lines that a command prints, without spaces around them; none where it fails."""
        return [line.strip() for line in self._lines(command)]

    def _lines(self, command: str) -> list[str]:
        """The lines that a command prints; none where it fails."""
        self._error = ""
        self.logger.debug("%s", command)
        try:
            content = self._connection.execute(command)
        except NoOutputError:
            return self._fail(NO_OUTPUT)
        except SwciError as error:
            return self._fail(f"{NO_ANSWER} : {error}")
        if failed := next((each for each in content if each.startswith("ERROR ")), ""):
            return self._fail(failed)
        return [line for each in content for line in each.splitlines()]

    def _fail(self, reason: str) -> list[str]:
        self._error = reason
        self.logger.error("%s", reason)
        return []


def _state(status: Sequence[str]) -> str:
    """The state in the output of GET TASKRUNNER STATUS; empty where there is none."""
    return _field(status, "TASK_STATE")


def _field(status: Sequence[str], name: str) -> str:
    line = next((each for each in status if each.partition(":")[0].strip() == name), "")
    return line.partition(":")[2].strip()


def _own_logger() -> logging.Logger:
    """The logger `swci-web`, which writes to the standard error and to the file swci-web.log."""
    logger = logging.getLogger("swci-web")
    if not logger.handlers:
        form = logging.Formatter("%(asctime)s : %(name)s : %(levelname)s : %(message)s")
        handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
        try:
            handlers.append(logging.FileHandler("swci-web.log", delay=False))
        except OSError as error:
            print(f"swci-web.log cannot be written here: {error.strerror}", file=sys.stderr)
        for handler in handlers:
            handler.setFormatter(form)
            logger.addHandler(handler)
    return logger
