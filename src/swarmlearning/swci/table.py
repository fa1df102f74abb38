"""The table of all commands: parser, HELP and completion come from it."""

from typing import Final, NamedTuple


class Command(NamedTuple):
    """One form of a command: `name` is what HELP calls it, `help` its sentence there, and `handler` the function in
    `commands/` that carries it out, with the session and the form's arguments. `ours`: the original does not have it;
    `older`: a form of former releases, which HELP leaves out."""

    name: str
    form: str
    handler: str
    help: str
    ours: bool = False
    older: bool = False


_CREATE_CONTEXT: Final = "Creates a context for the API server of an SN, after a look whether that is up."
_ASSIGN: Final = (
    "Assigns a finalized task to an idle taskrunner. For RUN_SWARM the number is one of SL-ML pairs, for other types "
    "one of SWOPs."
)
_TARGET: Final = (
    "Assigns a finalized task to one SWOP: on an idle taskrunner to this one alone; on one at work it joins in, or "
    "tries again what it has failed at."
)
_PROPOSALS: Final = "Lists the acts that wait for more signatures, and whose."

COMMANDS: Final = (
    # --- contexts ---
    Command(
        "CREATE CONTEXT",
        "CREATE CONTEXT <ContextName : string> WITH IP <IP : string> [Port : integer]",
        "contexts.create_with_ip",
        _CREATE_CONTEXT,
    ),
    Command(
        "CREATE CONTEXT",
        "CREATE CONTEXT <ContextName : string> WITH SERVICE <Service : string>",
        "contexts.create_with_service",
        _CREATE_CONTEXT,
    ),
    Command(
        "CREATE CONTEXT",
        "CREATE CONTEXT <ContextName : string> <IP : string> [Port : integer]",
        "contexts.create_with_ip",
        _CREATE_CONTEXT,
        older=True,
    ),
    Command(
        "SWITCH CONTEXT",
        "SWITCH CONTEXT <ContextName : string>",
        "contexts.switch",
        "Makes a context the one that commands are for.",
    ),
    Command("LIST CONTEXTS", "LIST CONTEXTS", "contexts.list_all", "Lists the contexts of this session."),
    Command(
        "GET CONTEXT INFO",
        "GET CONTEXT INFO [ContextName : string]",
        "contexts.info",
        "Shows the API server and the network of a context, by default of the one in use.",
    ),
    Command(
        "GET CONTEXT VERSION",
        "GET CONTEXT VERSION",
        "contexts.version",
        "Shows the version of the context's API server.",
    ),
    Command(
        "LIST CONTEXT ENV",
        "LIST CONTEXT ENV [ContextName : string]",
        "contexts.list_variables",
        "Lists the environment variables of a context.",
    ),
    Command(
        "SET CONTEXT ENV",
        "SET CONTEXT ENV [ContextName : string] <Variable : string> <Value : string>",
        "contexts.set_variable",
        "Sets an environment variable of a context, such as SWCI_RUN_TASK_MAX_WAIT_TIME (minutes).",
    ),
    Command(
        "GET CONTEXT ENV",
        "GET CONTEXT ENV [ContextName : string] <Variable : string>",
        "contexts.get_variable",
        "Shows an environment variable of a context.",
    ),
    # --- training contracts ---
    Command(
        "CREATE CONTRACT",
        "CREATE CONTRACT <TrainingContractName : string>",
        "contracts.create",
        "Registers the specified SL Training Contract into the Swarm Learning Network.",
    ),
    Command(
        "CREATE CONTRACT",
        "CREATE CONTRACT <TrainingContractName : string> FROM <File : path>",
        "contracts.create_from",
        "With FROM the contract has the members and terms that the YAML file names; the original has no such form.",
    ),
    Command("LIST CONTRACTS", "LIST CONTRACTS", "contracts.list_all", "Lists the training contracts."),
    Command(
        "GET CONTRACT INFO",
        "GET CONTRACT INFO <TrainingContractName : string>",
        "contracts.info",
        "Shows what a training contract lays down: members, terms, merge method.",
    ),
    Command(
        "GET CONTRACT STATUS",
        "GET CONTRACT STATUS <TrainingContractName : string>",
        "contracts.status",
        "Shows the present state of a training contract, and whom it waits for.",
    ),
    Command(
        "RESET CONTRACT",
        "RESET CONTRACT <TrainingContractName : string>",
        "contracts.reset",
        "Empties a training contract whose training is over, for its next run. This cannot be undone.",
    ),
    Command(
        "PERFDATA",
        "PERFDATA <TrainingContractName : string>",
        "contracts.performance",
        "Shows loss, metric and epochs of each SL-ML pair of a training.",
    ),
    # --- tasks ---
    Command(
        "CREATE TASK",
        "CREATE TASK FROM <File : path>",
        "tasks.create_from",
        "Creates the task that a YAML file of the current directory defines, with its body.",
    ),
    Command(
        "CREATE TASK",
        "CREATE TASK <TaskType : string> <Name : string> <Author : string> <Prerequisite : string> <Outcome : string>",
        "tasks.create",
        "Creates a task without body: APPEND TASK BODY adds it line by line.",
    ),
    Command(
        "APPEND TASK BODY",
        "APPEND TASK BODY <TaskName : string> <Index : integer> <Line : text>",
        "tasks.append",
        "Adds a line, of less than 80 characters, to the body of a task that is not final, or replaces one; 1 is "
        "the first.",
    ),
    Command(
        "FINALIZE TASK",
        "FINALIZE TASK <TaskName : string>",
        "tasks.finalize",
        "Makes a task final: it does not change any more, and can be assigned.",
    ),
    Command("DELETE TASK", "DELETE TASK <TaskName : string>", "tasks.delete", "Deletes a task that is not final."),
    Command(
        "GET TASK INFO",
        "GET TASK INFO <TaskName : string>",
        "tasks.info",
        "Shows type, author, prerequisite and outcome of a task, who has made it, and its digest.",
    ),
    Command("GET TASK BODY", "GET TASK BODY <TaskName : string>", "tasks.body", "Shows the body of a task."),
    Command("LIST TASKS", "LIST TASKS", "tasks.list_all", "Lists the tasks, those that are not final too."),
    # --- taskrunners ---
    Command(
        "CREATE TASKRUNNER",
        "CREATE TASKRUNNER <TaskRunnerName : string>",
        "taskrunners.create",
        "Creates a taskrunner, to which SWOPs listen.",
    ),
    Command("LIST TASKRUNNERS", "LIST TASKRUNNERS", "taskrunners.list_all", "Lists the taskrunners."),
    Command(
        "GET TASKRUNNER INFO",
        "GET TASKRUNNER INFO <TaskRunnerName : string>",
        "taskrunners.info",
        "Shows who has created a taskrunner, and when.",
    ),
    Command(
        "GET TASKRUNNER STATUS",
        "GET TASKRUNNER STATUS <TaskRunnerName : string>",
        "taskrunners.status",
        "Shows the task of a taskrunner, its state, and how many peers are at work, complete or failed.",
    ),
    Command(
        "GET TASKRUNNER PEER STATUS",
        "GET TASKRUNNER PEER STATUS <TaskRunnerName : string> <Peer : string>",
        "taskrunners.peer_status",
        "Shows the part of one SWOP, named by its index (from 0), UID or name, and of each SL that it has started.",
    ),
    Command(
        "LIST TASKRUNNER PEERS",
        "LIST TASKRUNNER PEERS <TaskRunnerName : string>",
        "taskrunners.list_peers",
        "Lists the SWOPs that listen to a taskrunner, first those that take part in its task.",
    ),
    Command(
        "RESET TASKRUNNER",
        "RESET TASKRUNNER <TaskRunnerName : string>",
        "taskrunners.reset",
        "Makes a taskrunner idle; its SWOPs end and remove what they have started.",
    ),
    Command(
        "ABORT TASKRUNNER",
        "ABORT TASKRUNNER <TaskRunnerName : string>",
        "taskrunners.abort",
        "Ends the task of a taskrunner; its SWOPs end what they have started, and keep its logs until the reset.",
        ours=True,
    ),
    Command(
        "ASSIGN TASK",
        "ASSIGN TASK <TaskName : string> TO <TaskRunnerName : string> WITH <Count : integer> PEERS",
        "taskrunners.assign",
        _ASSIGN,
    ),
    Command(
        "ASSIGN TASK",
        "ASSIGN TASK <TaskName : string> TO <TaskRunnerName : string> WITH ALL PEERS",
        "taskrunners.assign_all",
        _ASSIGN,
    ),
    Command(
        "ASSIGN TASK",
        "ASSIGN TASK <TaskName : string> TO <TaskRunnerName : string> TARGET <Swop : string>",
        "taskrunners.assign_target",
        _TARGET,
    ),
    Command(
        "LOGS TASKRUNNER",
        "LOGS TASKRUNNER <TaskRunnerName : string> PEER <Peer : string> [SL|ML|SWOP] [Pair : integer] [FOLLOW]",
        "logs.taskrunner_peer",
        "Shows the end of a SWOP's log, or of the output of a pair that it has started (SL or ML, with its number), as "
        "far as the site shares it; FOLLOW goes on until Ctrl-C.",
        ours=True,
    ),
    Command(
        "WAIT FOR TASKRUNNER",
        "WAIT FOR TASKRUNNER <TaskRunnerName : string>",
        "taskrunners.wait",
        "Waits until the task of a taskrunner is complete or has failed, and says at once whose approval is missing.",
    ),
    # --- proposals ---
    Command("LIST PROPOSALS", "LIST PROPOSALS", "proposals.list_open", _PROPOSALS, ours=True),
    Command("LIST PROPOSALS", "LIST PROPOSAL", "proposals.list_open", _PROPOSALS, ours=True, older=True),
    Command(
        "SIGN PROPOSAL",
        "SIGN PROPOSAL <Number : integer>",
        "proposals.sign",
        "Agrees to a proposal for this organisation; the last signature needed puts it into effect.",
        ours=True,
    ),
    Command(
        "REJECT PROPOSAL",
        "REJECT PROPOSAL <Number : integer>",
        "proposals.reject",
        "Does not agree to a proposal.",
        ours=True,
    ),
    Command(
        "WAIT FOR PROPOSAL",
        "WAIT FOR PROPOSAL <Number : integer>",
        "proposals.wait",
        "Waits until a proposal has taken effect, or cannot any more.",
        ours=True,
    ),
    # --- nodes, waiting ---
    Command("LIST NODES", "LIST NODES", "nodes.list_all", "Lists the nodes that are registered and active."),
    Command(
        "WAIT FOR IP",
        "WAIT FOR IP <IP : string> [Port : integer] [Retries : integer]",
        "nodes.wait_for_ip",
        "Waits until an API server is up; it tries again every 5 seconds, by default 360 times.",
    ),
    Command(
        "WAIT FOR SERVICE",
        "WAIT FOR SERVICE <Service : string> [Retries : integer]",
        "nodes.wait_for_service",
        "Waits until an API server behind a proxy is up; it tries again every 5 seconds, by default 360 times.",
    ),
    # --- the session itself ---
    Command("CD", "CD <Directory : path>", "files.change", "Changes the current directory."),
    Command("LS", "LS [Options : words]", "files.show", "Lists files: LS [-a] [-l] [path]."),
    Command("PWD", "PWD", "files.current", "Shows the current directory."),
    Command("SLEEP", "SLEEP <Seconds : number>", "control.sleep", "Waits so many seconds."),
    Command("EXIT", "EXIT", "control.leave", "Ends SWCI."),
    Command(
        "EXIT ON FAILURE",
        "EXIT ON FAILURE [ON|OFF]",
        "control.exit_on_failure",
        "Turns on or off that the first command that fails ends SWCI; it is off at the start.",
    ),
    Command(
        "HELP",
        "HELP [command : words]",
        "control.help_for",
        "Help without parameter lists all supported commands.\n"
        "Help with command name show help content for the specified command.",
    ),
)
