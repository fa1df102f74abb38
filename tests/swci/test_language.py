"""The command language: every documented form, what is wrong with a line and where, completion, HELP."""

import inspect
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.swci.language import LanguageError, completions, help_lines, is_remark, parse
from swarmlearning.swci.pattern import elements
from swarmlearning.swci.session import handler_of
from swarmlearning.swci.table import COMMANDS, Command

FORMS = {
    "CREATE CONTEXT c WITH IP sn1": ("contexts.create_with_ip", ("c", "sn1", None)),
    "create context test-mnist with ip 10.0.0.1 30304": ("contexts.create_with_ip", ("test-mnist", "10.0.0.1", 30304)),
    "CREATE CONTEXT c WITH SERVICE api.sn-1.swarm:443": ("contexts.create_with_service", ("c", "api.sn-1.swarm:443")),
    "CREATE CONTEXT c 10.0.0.1 30304": ("contexts.create_with_ip", ("c", "10.0.0.1", 30304)),
    "Switch Context C": ("contexts.switch", ("C",)),
    "LIST CONTEXTS": ("contexts.list_all", ()),
    "GET CONTEXT INFO": ("contexts.info", (None,)),
    "GET CONTEXT INFO c": ("contexts.info", ("c",)),
    "GET CONTEXT VERSION": ("contexts.version", ()),
    "LIST CONTEXT ENV": ("contexts.list_variables", (None,)),
    "LIST CONTEXT ENV c": ("contexts.list_variables", ("c",)),
    "SET CONTEXT ENV A 1": ("contexts.set_variable", (None, "A", "1")),
    "SET CONTEXT ENV c A 1": ("contexts.set_variable", ("c", "A", "1")),
    "SET CONTEXT ENV A 'one two'": ("contexts.set_variable", (None, "A", "one two")),
    "GET CONTEXT ENV A": ("contexts.get_variable", (None, "A")),
    "GET CONTEXT ENV c A": ("contexts.get_variable", ("c", "A")),
    "CREATE CONTRACT n FROM terms.yaml": ("contracts.create_from", ("n", "terms.yaml")),
    "CREATE CONTRACT n": ("contracts.create", ("n",)),
    "LIST CONTRACTS": ("contracts.list_all", ()),
    "GET CONTRACT INFO defaultbb.cqdb.sml.hpe": ("contracts.info", ("defaultbb.cqdb.sml.hpe",)),
    "GET CONTRACT STATUS n": ("contracts.status", ("n",)),
    "RESET CONTRACT n": ("contracts.reset", ("n",)),
    "perfdata n": ("contracts.performance", ("n",)),
    "create task from taskdefs/run.yaml": ("tasks.create_from", ("taskdefs/run.yaml",)),
    "CREATE TASK RUN_SWARM t me ROOTTASK 'an image'": (
        "tasks.create",
        ("RUN_SWARM", "t", "me", "ROOTTASK", "an image"),
    ),
    "APPEND TASK BODY t 2   - FROM python": ("tasks.append", ("t", 2, "  - FROM python")),
    "APPEND TASK BODY t 2": ("tasks.append", ("t", 2, "")),
    "FINALIZE TASK t": ("tasks.finalize", ("t",)),
    "DELETE TASK t": ("tasks.delete", ("t",)),
    "get task info t": ("tasks.info", ("t",)),
    "get task body t": ("tasks.body", ("t",)),
    "LIST TASKS": ("tasks.list_all", ()),
    "CREATE TASKRUNNER r": ("taskrunners.create", ("r",)),
    "LIST TASKRUNNERS": ("taskrunners.list_all", ()),
    "get taskrunner info r": ("taskrunners.info", ("r",)),
    "get taskrunner status defaulttaskbb.taskdb.sml.hpe": ("taskrunners.status", ("defaulttaskbb.taskdb.sml.hpe",)),
    "get taskrunner peer status r 0": ("taskrunners.peer_status", ("r", "0")),
    "GET TASKRUNNER PEER STATUS STATUS STATUS": ("taskrunners.peer_status", ("STATUS", "STATUS")),
    "LIST TASKRUNNER PEERS r": ("taskrunners.list_peers", ("r",)),
    "RESET TASKRUNNER r": ("taskrunners.reset", ("r",)),
    "logs taskrunner r peer 0 sl 2 follow": ("logs.taskrunner_peer", ("r", "0", "SL", 2, "FOLLOW")),
    "ABORT TASKRUNNER r": ("taskrunners.abort", ("r",)),
    "ASSIGN TASK t TO r WITH 2 PEERS": ("taskrunners.assign", ("t", "r", 2)),
    "assign task TO TO WITH with all peers": ("taskrunners.assign_all", ("TO", "WITH")),
    "ASSIGN TASK t TO r TARGET 0a1b2c3d": ("taskrunners.assign_target", ("t", "r", "0a1b2c3d")),
    "WAIT FOR TASKRUNNER r": ("taskrunners.wait", ("r",)),
    "LIST PROPOSAL": ("proposals.list_open", ()),
    "LIST PROPOSALS": ("proposals.list_open", ()),
    "SIGN PROPOSAL 7": ("proposals.sign", (7,)),
    "REJECT PROPOSAL 7": ("proposals.reject", (7,)),
    "WAIT FOR PROPOSAL 7": ("proposals.wait", (7,)),
    "list Nodes": ("nodes.list_all", ()),
    "WAIT FOR IP sn1": ("nodes.wait_for_ip", ("sn1", None, None)),
    "WAIT FOR IP sn1 30304": ("nodes.wait_for_ip", ("sn1", 30304, None)),
    "WAIT FOR IP sn1 30304 10": ("nodes.wait_for_ip", ("sn1", 30304, 10)),
    "WAIT FOR SERVICE api.sn-1.swarm": ("nodes.wait_for_service", ("api.sn-1.swarm", None)),
    "WAIT FOR SERVICE api.sn-1.swarm:443 10": ("nodes.wait_for_service", ("api.sn-1.swarm:443", 10)),
    "cd /platform/swarm/usr/": ("files.change", ("/platform/swarm/usr/",)),
    "cd 'my files'": ("files.change", ("my files",)),
    "ls": ("files.show", ("",)),
    "ls -l  -a taskdefs": ("files.show", ("-l  -a taskdefs",)),
    "pwd": ("files.current", ()),
    "SLEEP 15": ("control.sleep", (15.0,)),
    "sleep 0.5": ("control.sleep", (0.5,)),
    "EXIT": ("control.leave", ()),
    "EXIT ON FAILURE": ("control.exit_on_failure", (None,)),
    "exit on failure off": ("control.exit_on_failure", ("OFF",)),
    "EXIT ON FAILURE ON": ("control.exit_on_failure", ("ON",)),
    "HELP": ("control.help_for", ("",)),
    "help create contract": ("control.help_for", ("create contract",)),
    # names that are words of the language
    "CREATE CONTEXT with WITH IP ip": ("contexts.create_with_ip", ("with", "ip", None)),
    "CREATE CONTEXT IP WITH SERVICE service": ("contexts.create_with_service", ("IP", "service")),
    "SWITCH CONTEXT CONTEXT": ("contexts.switch", ("CONTEXT",)),
    "GET CONTRACT STATUS STATUS": ("contracts.status", ("STATUS",)),
    "  CREATE \t CONTRACT   'two words'  ": ("contracts.create", ("two words",)),
}

FAULTS = {
    "CREATE CONTRCT n": "column 8: expected CONTEXT or CONTRACT or TASK or TASKRUNNER",
    "CREATE CONTRACT": "column 16: expected <TrainingContractName : string>, the line ends; see HELP CREATE CONTRACT",
    "CREATE CONTRACT a b": "column 19: expected FROM, found 'b'; see HELP CREATE CONTRACT",
    "CREATE CONTEXT c WITH ADDRESS a": "column 23: expected IP or SERVICE, found 'ADDRESS'; see HELP CREATE CONTEXT",
    "EXIT ON FAILURE MAYBE": "column 17: expected ON or OFF, found 'MAYBE'; see HELP EXIT ON FAILURE",
    "ASSIGN TASK t TO r WITH two PEERS": "column 25: expected <Count : integer> or ALL, found 'two'",
    "ASSIGN TASK t TO r": "column 19: expected WITH or TARGET, the line ends; see HELP ASSIGN TASK",
    "SLEEP long": "column 7: expected <Seconds : number>, found 'long'; see HELP SLEEP",
    "SIGN PROPOSAL -1": "column 15: expected <Number : integer>, found '-1'",
    "WAIT FOR IP a 1 99999999999": "column 17: expected <Retries : integer>",
    "PREFDATA n": "column 1: PREFDATA is no command; did you mean PERFDATA?",
    "LST NODES": "column 1: LST is no command; did you mean LIST NODES?",
    "frobnicate": "column 1: FROBNICATE is no command; HELP lists the commands",
    "\x1b[2J": "is no command",
    "CREATE CONTRACT " + "n" * 5000: "the line has 5016 characters; at most 4096 are taken",
}


@pytest.mark.parametrize(("text", "call"), FORMS.items(), ids=FORMS)
def test_every_form_is_understood(text: str, call: tuple[str, tuple[object, ...]]) -> None:
    found = parse(text)
    assert (found.command.handler, found.values) == call


@pytest.mark.parametrize(("text", "message"), FAULTS.items(), ids=range(len(FAULTS)))
def test_a_line_that_is_no_command_is_refused_with_the_column_and_what_is_expected(text: str, message: str) -> None:
    with pytest.raises(LanguageError) as refused:
        parse(text)
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


def test_every_form_of_the_table_is_tried_above() -> None:
    tried = {parse(text).command for text in FORMS}
    assert [each.form for each in COMMANDS if each not in tried] == []


@pytest.mark.parametrize("command", COMMANDS, ids=[each.form for each in COMMANDS])
def test_each_form_has_a_handler_that_takes_its_arguments(command: Command) -> None:
    parameters = list(inspect.signature(handler_of(command)).parameters)
    assert len(parameters) == 1 + sum(each.is_value for each in elements(command.form))
    assert command.form.startswith(command.name) or command.older


WORDS = ["CREATE", "CONTEXT", "a", "WITH", "IP", "GET", "ENV", "LIST", "1", "ON", "'x"]


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join)))
def test_any_text_is_a_command_or_refused(text: str) -> None:
    with suppress(LanguageError):
        assert parse(text).command in COMMANDS


@pytest.mark.parametrize("text", ["", "   ", "# CREATE CONTRACT n", "  #"])
def test_comments_and_blank_lines_are_remarks(text: str) -> None:
    assert is_remark(text)


NAMES = {"ContextName": ["here", "there"], "TrainingContractName": ["heart"]}
COMPLETIONS = {
    "ASSIGN TASK t TO r WITH ": {"ALL"},
    "": {"CREATE", "EXIT", "HELP", "CD"},
    "swi": {"SWITCH"},
    "SWITCH CONTEXT ": {"here", "there"},
    "switch context t": {"there"},
    "CREATE CONTEXT x ": {"WITH"},
    "create context x with ": {"IP", "SERVICE"},
    "EXIT ": {"ON"},
    "EXIT ON FAILURE ": {"ON", "OFF"},
    "PERFDATA h": {"heart"},
    "GET CONTEXT ": {"INFO", "VERSION", "ENV"},
    "PERFDATA heart ": set(),
    "nonsense ": set(),
}


@pytest.mark.parametrize(("text", "offered"), COMPLETIONS.items())
def test_what_may_come_next_is_offered(text: str, offered: set[str]) -> None:
    found = {choice for choice, _ in completions(text, NAMES)}
    assert found >= offered if text == "" else found == offered


def test_help_lists_the_names_of_all_commands_in_order() -> None:
    listed = help_lines("")
    assert listed[:3] == sorted(listed[:3])
    assert {"CREATE CONTEXT", "PERFDATA", "HELP", "EXIT ON FAILURE"} <= set(listed)


def test_help_shows_form_and_sentence_of_a_command() -> None:
    assert help_lines("create  contract") == [
        "CREATE CONTRACT <TrainingContractName : string>",
        "CREATE CONTRACT <TrainingContractName : string> FROM <File : path>",
        "Registers the specified SL Training Contract into the Swarm Learning Network.",
        "With FROM the contract has the members and terms that the YAML file names; the original has no such form.",
    ]
    assert help_lines("HELP") == [
        "HELP [command:string]",
        "Help without parameter lists all supported commands.",
        "Help with command name show help content for the specified command.",
    ]
    assert help_lines("SIGN PROPOSAL")[-1] == "This command is not one of the original's."
    with pytest.raises(LanguageError, match="did you mean LIST NODES"):
        help_lines("list node")
