"""The bill of materials, and the audit that never passes for one that has not looked."""

import json
from pathlib import Path
from typing import Any

import pytest

import audit
import sbom
from audit import Fault, Finding
from lock import NODES

LOCK = """# a comment
one==1.0 \\
    --hash=sha256:aa
two==2.0 ; python_full_version >= '3.0' \\
    --hash=sha256:bb
two==1.9 ; python_full_version < '3.0' \\
    --hash=sha256:cc
other-system==3 ; sys_platform == 'never' \\
    --hash=sha256:dd
"""


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def package(name: str, version: str, *vulns: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "version": version, "vulns": list(vulns)}


ONE, TWO = package("one", "1.0"), package("two", "2.0")


def test_a_report_on_all_that_is_locked_for_this_system_counts() -> None:
    assert audit.findings(report(ONE, TWO), LOCK) == []
    bad = package("two", "2.0", {"id": "PYSEC-1", "fix_versions": ["2.1"], "description": "…", "aliases": []})
    assert audit.findings(report(ONE, bad), LOCK) == [Finding("two", "2.0", "PYSEC-1", ("2.1",))]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no report"),
        ("null", "no report"),
        ("[]", "no report"),
        ('{"dependencies": [1]}', "no report"),
        (report(), "does not have one, two"),
        (report(ONE), "does not have two"),
        (report(ONE, package("two", "1.9")), "does not have two"),
        (report(ONE, {"name": "two", "skip_reason": "not found"}), "1 packages were left out, two since: not found"),
    ],
)
def test_a_report_that_is_missing_or_incomplete_is_no_audit(text: str, fault: str) -> None:
    with pytest.raises(Fault, match=fault):
        audit.findings(text, LOCK)


@pytest.mark.parametrize(
    ("script", "status", "says"),
    [
        ("exit 0", 2, "NOT AUDITED: pip-audit has given no report"),
        ("echo no network >&2; exit 1", 2, "NOT AUDITED: pip-audit has given no report (no network)"),
        ("""echo '{"dependencies": []}'""", 2, "NOT AUDITED: the report does not have"),
    ],
)
def test_an_audit_of_nothing_does_not_succeed(
    script: str, status: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert audit.main(str(program)) == status
    assert says in capsys.readouterr().err


def component(name: str, version: str) -> dict[str, Any]:
    return {"name": name, "version": version, "externalReferences": [{"hashes": [{"alg": "SHA-256", "content": "aa"}]}]}


ALL = [component("one", "1.0"), component("two", "2.0"), component("two", "1.9"), component("other-system", "3")]


def test_a_bill_names_exactly_what_is_locked_with_its_hashes() -> None:
    assert sbom.check({"components": ALL}, LOCK) == 4
    with pytest.raises(Fault, match="does not name what is locked: other-system"):
        sbom.check({"components": ALL[:3]}, LOCK)
    with pytest.raises(Fault, match="does not name what is locked: three"):
        sbom.check({"components": [*ALL, component("three", "3")]}, LOCK)
    with pytest.raises(Fault, match="no hashes of one"):
        sbom.check({"components": [{"name": "one", "version": "1.0"}, *ALL[1:]]}, LOCK)
    with pytest.raises(Fault, match="does not name"):
        sbom.check({}, LOCK)


def test_the_lock_itself_is_read() -> None:
    versions = audit.locked_versions(NODES.read_text())
    assert {"aiohttp", "cryptography", "numpy"} <= {name for name, _ in versions}
    assert len(versions) == sum("==" in line for line in NODES.read_text().splitlines() if not line.startswith(" "))
