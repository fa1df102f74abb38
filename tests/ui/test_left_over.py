"""What pages tell in the words of the command line has a phrase in German: errors, what an act has done, what keeps a
plan from being carried out. Sentences are read from the sources, so that none is forgotten."""

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import swarmlearning
from support.ledgerui import ledger_ui
from support.network import Ledger
from swarmlearning.ledger.bodies import CreateContract
from swarmlearning.ui.hosts.ssh import HINT
from swarmlearning.ui.projects.keyfinder import MADE_THERE
from swarmlearning.ui.projects.settings import HostPlace, ProjectNode
from swarmlearning.ui.texts.catalogue import catalogue
from swarmlearning.ui.texts.phrasebook import said

ROOT = Path(swarmlearning.__file__).parent
FOR_THE_TERMINAL = {"backup.py", "settings.py", "serving.py", "database.py", "wheelhouse.py", "licensing.py", "link.py"}
"""What these say is said before a UI runs, or where none is."""
PLACES = ("ui", "operator")
KEYED = ("HostFault", "SetupError", "UserFault", "PasswordFault", "JobFault", "NotAllowedError", "NoNetworkError")
"""Their text is that of their key; the English beside it is for logs."""
DEFECTS = ("AssertionError", "KeyError", "ValueError", "TypeError", "RuntimeError", "SealError")
SENTENCES = {"Conflict": 1, "Act": 2}
"""What has a sentence as this argument."""
TERMINAL_OPTIONS = (
    "--network-id names",
    "is a certificate for",
    "at rules version",
    "name another one",
    "trust domain",
)
"""Parts of sentences that need an option, or a file, of the command line."""
VALUE = "7"
"""Stands for any name and any number."""
SAMPLES = {
    "HINT": HINT,
    "MADE_THERE": MADE_THERE,
    "text": "only an SN founds a network",
    "first.what": "only an SN founds a network",
    "with_what": "password",
    "amount": "no",
    "displayed(str(error), 200)": "a decimal from 0 to below 1, with 6 places at most; it is 7",
    "_instead(found[key])": "answer no where swarm ca sign asks about SL-1",
    "'over' if state.over else 'stopping'": "over",
}
"""What stands in a place that is no name and no number."""


def text_of(node: ast.expr, known: dict[str, str]) -> str:
    """The sentence of an expression with a value in each place; empty where it is made elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            made = ""
            for each in parts:
                made += _part(each, glued=made[-1:].isalnum())
            return made
        case ast.Name(id=name):
            return known.get(name, "")
    return ""


def _part(node: ast.expr, *, glued: bool) -> str:
    """`glued`: it follows a word without a space, so it is an addition that need not be there."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.FormattedValue(value=value, conversion=conversion):
            made = "" if glued else SAMPLES.get(ast.unparse(value), VALUE)
            return f"'{made}'" if conversion == ord("r") else made
    return VALUE


def sentences(path: Path) -> Iterator[str]:
    """Those of a module's errors, acts and conflicts that are whole."""
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        known: dict[str, str] = {}
        for node in ast.walk(function):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if text := text_of(value, {}):
                    known[name] = text
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and (at := _sentence(ast.unparse(node.func))) < len(node.args):
                yield text_of(node.args[at], known)


def _sentence(name: str) -> int:
    """Which argument of such a call is a sentence; a large number for none."""
    if name in SENTENCES:
        return SENTENCES[name]
    fault = name.endswith(("Error", "Fault", "Unreachable")) and name not in (*KEYED, *DEFECTS)
    return 0 if fault else 99


def shown(path: Path) -> set[str]:
    """The sentences of a module that a page can show, and that say something themselves."""
    found = {text for text in sentences(path) if " " in text.replace(f"{VALUE}: ", "").replace(VALUE, "").strip()}
    return {text for text in found if not any(part in text for part in TERMINAL_OPTIONS)}


@pytest.mark.parametrize("place", PLACES)
def test_no_sentence_of_a_page_is_left_in_english(place: str) -> None:
    modules = [path for path in sorted((ROOT / place).rglob("*.py")) if path.name not in FOR_THE_TERMINAL]
    left = {text for path in modules for text in shown(path) if said("de", text) == text}
    assert left == set()


def test_the_steps_of_all_jobs_have_names() -> None:
    named = set[str]()
    for path in (ROOT / "ui").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="tell"), args=[ast.Constant(value=str(step)), *_]) if step:
                    named.add(step)
    assert len(named) >= 5
    assert {step for step in named if f"jobs.step-{step}" not in catalogue()} == set()


async def test_what_was_done_and_what_cannot_be_is_told_in_german(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.join("op-1", "SWCI")
    ledger.send("op-1", CreateContract(), "study")
    async with ledger_ui(tmp_path / "ui", ledger) as ui, ui.visitor("operator", "de") as person:
        done = await person.does("/projects/contracts/reset", name="study")
        assert done["text"] == "Vertrag study ist leer; Lauf 2 kann beginnen"
        failed = await person.fails("/projects/contracts/reset", name="none-such")
        assert failed.startswith("es gibt keinen Trainingsvertrag „none-such“")
        ui.site.projects.create("mnist", "ada")
        node = ProjectNode("SL-1", "sl", "north", script=("python3", "x.py"))
        host = HostPlace("north", "10.0.0.1", "/opt/swarm")
        ui.site.projects.alter("mnist", lambda known: msgspec.structs.replace(known, hosts=(host,), nodes=(node,)))
        for path in ("/projects/mnist/nodes", "/projects/mnist/deploy"):
            page = await person.page(path)
            assert "es ist kein SN bekannt, über den beigetreten wird" in page
            assert "no SN is known" not in page
        assert "gibt es bereits; wählen Sie" in await person.fails("/projects/create", name="mnist")
        refused = await person.fails("/hosts/add", addresses="10.0.0.300", folder="/opt/swarm")
        assert "Eine IPv4-Adresse hat vier Teile von 0 bis 255" in refused
