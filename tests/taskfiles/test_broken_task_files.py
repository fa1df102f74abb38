"""Task files that are broken in one place: each gets one message, with line, column and field."""

import pytest

from swarmlearning.documents.faults import DocumentError
from swarmlearning.taskfiles.taskfile import read_task_file

RUN = """\
Name: run_digits
TaskType: RUN_SWARM
Author: operator
Prereq: build_env
Outcome: run_digits
Body:
  Command: train.py
  Entrypoint: python3
  WorkingDir: /tmp/test
  Envvars:
  - MAX_EPOCHS: 2
  PrivateContent: /tmp/data
  SharedContent:
  - Src: /srv/model
    Tgt: /tmp/model
    MType: BIND
"""

BUILD = """\
Name: build_env
TaskType: MAKE_USER_CONTAINER
Author: operator
Prereq: ROOTTASK
Outcome: user-env
Body:
  BuildContext: sl-cli-lib
  BuildType: INLINE
  BuildSteps:
  - FROM python:3.11
  - RUN pip install numpy
"""

PULL = """\
Name: pull_env
TaskType: PULL_IMAGE
Author: operator
Prereq: ROOTTASK
Outcome: user-env
Body:
  OrgAndReg: registry.example.org/team
  RepoName: user-env
  Tag: 1.0
  Auth:
    Username: swarm
    Password: secret
"""

CONTENT = """\
Name: fetch_data
TaskType: MAKE_SWARM_USER_CONTENT
Author: operator
Prereq: ROOTTASK
Outcome: data
Body:
  ContentType: SWARMCONTENT
  OpsList:
  - Operation: DOWNLOAD
    Target: https://example.org/data.tar
    Options:
    - Out: archives/data.tar
"""

RUN_CHANGES: list[tuple[str, str]] = [
    ("Author: operator\n -> ", "1:1: Author: the key is missing"),
    ("Author: -> Autor:", "3:1: Autor: unknown key; did you mean Author?"),
    ("Author: operator -> Author:", "3:8: Author: expected text, found null"),
    ("Author: operator -> Author: [a]", "3:9: Author: expected text, found a list"),
    ("Author: operator -> Author: {a: b}", "3:9: Author: expected text, found a mapping"),
    ("Author: operator -> Author: ''", "3:9: Author: expected text of 1 to 160 characters, found 0"),
    ("operator -> " + "o" * 161, "3:9: Author: expected text of 1 to 160 characters, found 161"),
    ('Name: run_digits -> Name: "run\\0digits"', "1:7: Name: the text has the invisible character U+0000; remove it"),
    (
        'Name: run_digits -> Name: "run\\u202Edigits"',
        "1:7: Name: the text has the invisible character U+202E; remove it",
    ),
    ("Name: run_digits -> Name: run\nName: digits", "2:1: Name: duplicate key, already in line 1"),
    (
        "TaskType: RUN_SWARM -> TaskType: RUN_SWARMS",
        "2:11: TaskType: expected RUN_SWARM, MAKE_USER_CONTAINER, MAKE_SWARM_USER_CONTENT or PULL_IMAGE,",
    ),
    (
        "TaskType: RUN_SWARM -> TaskType: BUILD",
        "2:11: TaskType: expected RUN_SWARM, MAKE_USER_CONTAINER, MAKE_SWARM_USER_CONTENT or PULL_IMAGE,",
    ),
    ("TaskType: RUN_SWARM\n -> ", "1:1: TaskType: the key is missing"),
    (
        "TaskType: RUN_SWARM -> TaskType: [RUN_SWARM]",
        "2:11: TaskType: expected RUN_SWARM, MAKE_USER_CONTAINER, MAKE_SWARM_USER_CONTENT or PULL_IMAGE,",
    ),
    (
        "Outcome: run_digits -> Outcome: |\n  one\n  two",
        "5:10: Outcome: expected text of a single line, found several lines",
    ),
    (
        "Prereq: build_env -> Prereq: <PROJECT>",
        "4:9: Prereq: the placeholder <PROJECT> has not been replaced; put your site's value there",
    ),
    ("Name: run_digits\n -> Name: run_digits\n---\n", "2:1: a second document begins here; a file may have only one"),
    ("  Command -> \tCommand", "7:1: the line is indented by a tab; YAML is indented by spaces only"),
    ("Body: -> Body: &b\n  Again: *b", "7:10: Body.Again: the alias *b is used inside its own anchor"),
    ("Prereq: build_env -> Prereq: *other", "4:9: Prereq: there is no anchor &other before this alias"),
    (
        "Prereq: build_env -> Prereq: !!python/name:os.system",
        "4:9: Prereq: the tag 'tag:yaml.org,2002:python/name:os.system' is not supported; remove it",
    ),
    (
        "Prereq: build_env -> Prereq: 'build",
        "17:1: not valid YAML: found unexpected end of stream while scanning a quoted scalar, which begins",
    ),
    (
        "Prereq: build_env -> Prereq: [build",
        "5:8: not valid YAML: expected ',' or ']', but got ':' while parsing a flow sequence, which begins",
    ),
    ("Prereq: build_env -> Prereq: a: b", "4:10: not valid YAML: mapping values are not allowed here"),
    (
        "Prereq: build_env -> ? [a, b]\n: build",
        "4:3: a list or mapping is used as a key; quote texts that contain braces",
    ),
    ("Name: run_digits -> Name: @run", "1:7: not valid YAML: found character '@' that cannot start any token"),
    ("  Command: train.py\n -> ", "7:3: Body.Command: the key is missing"),
    ("Command: -> Comand:", "7:3: Body.Comand: unknown key; did you mean Command?"),
    ("Command: -> Cmd:", "7:3: Body.Cmd: unknown key; did you mean Command?"),
    ("train.py -> " + "c" * 161, "7:12: Body.Command: expected text of 1 to 160 characters, found 161"),
    (
        "Command: train.py -> Command: 'model/<CURRENT-PATH>'",
        "7:12: Body.Command: the placeholder <CURRENT-PATH> has not been replaced; put your site's value",
    ),
    ("  Entrypoint: python3\n -> ", "7:3: Body.Entrypoint: the key is missing"),
    ("Entrypoint: python3 -> Entrypoint: ~", "8:15: Body.Entrypoint: expected text, found null"),
    (
        "WorkingDir: /tmp/test -> WorkingDir: tmp/test",
        "9:15: Body.WorkingDir: expected an absolute path, found 'tmp/test'",
    ),
    (
        "WorkingDir: /tmp/test -> WorkingDir: /",
        "9:15: Body.WorkingDir: the root folder cannot be used here; name a folder below it",
    ),
    (
        "WorkingDir: /tmp/test -> WorkingDir: //",
        "9:15: Body.WorkingDir: the root folder cannot be used here; name a folder below it",
    ),
    (
        "WorkingDir: /tmp/test -> WorkingDir: /tmp/../etc",
        "9:15: Body.WorkingDir: the path '/tmp/../etc' contains '..'; write the path that is meant",
    ),
    ("  Envvars:\n  - MAX_EPOCHS: 2\n -> ", "7:3: Body.Envvars: the key is missing"),
    (
        "- MAX_EPOCHS: 2 -> - MAX_EPOCHS:2",
        "11:5: Body.Envvars[0]: expected one variable, as NAME: value, found 'MAX_EPOCHS:2'; a space must",
    ),
    ("- MAX_EPOCHS: 2 -> - MAX_EPOCHS: [2]", "11:17: Body.Envvars[0].MAX_EPOCHS: expected text, found a list"),
    (
        "- MAX_EPOCHS: 2 -> - MAX_EPOCHS: 2\n  - MAX_EPOCHS: 3",
        "12:17: Body.Envvars[1].MAX_EPOCHS: the variable MAX_EPOCHS is already there",
    ),
    (
        "- MAX_EPOCHS: 2 -> - 2MAX: 2",
        "11:11: Body.Envvars[0].2MAX: '2MAX' cannot name a variable; use letters, digits and '_'",
    ),
    ("- MAX_EPOCHS: 2 -> - [MAX_EPOCHS, 2]", "11:5: Body.Envvars[0]: expected one variable, as NAME: value"),
    (
        "  - MAX_EPOCHS: 2 ->     MAX_EPOCHS: 2\n    MAX_EPOCHS: 2",
        "12:5: Body.Envvars.MAX_EPOCHS: duplicate key, already in line 11",
    ),
    ("Envvars:\n  - MAX_EPOCHS: 2 -> Envvars: 2", "10:12: Body.Envvars: expected a list or a mapping of variables"),
    (
        "MAX_EPOCHS: 2 -> " + "MAX_EPOCHS: " + "1" * 4097,
        "11:17: Body.Envvars[0].MAX_EPOCHS: expected text of at most 4096 characters, found 4097",
    ),
    (
        "PrivateContent: /tmp/data -> PrivateContent: data",
        "12:19: Body.PrivateContent: expected an absolute path, found 'data'",
    ),
    (
        "PrivateContent: /tmp/data -> PrivateContent: {a: b}",
        "12:19: Body.PrivateContent: expected text, found a mapping",
    ),
    (
        "PrivateContent: /tmp/data -> PrivateContent: /data/..",
        "12:19: Body.PrivateContent: the path '/data/..' contains '..'; write the path that is meant",
    ),
    (
        "  SharedContent:\n  - Src: /srv/model\n    Tgt: /tmp/model\n    MType: BIND\n ->   SharedContent: []\n",
        "13:18: Body.SharedContent: expected a list of 1 to 10 items, found 0",
    ),
    ("Src: /srv/model -> Src: model", "14:10: Body.SharedContent[0].Src: expected an absolute path, found 'model'"),
    (
        "Src: /srv/model -> Src: ../../etc",
        "14:10: Body.SharedContent[0].Src: expected an absolute path, found '../../etc'",
    ),
    (
        "Src: /srv/model -> Src: /srv/../etc",
        "14:10: Body.SharedContent[0].Src: the path '/srv/../etc' contains '..'; write the path that is meant",
    ),
    (
        "Src: /srv/model -> Src: <CURRENT-PATH>/model",
        "14:10: Body.SharedContent[0].Src: the placeholder <CURRENT-PATH> has not been replaced; put your",
    ),
    (
        'Src: /srv/model -> Src: "/srv/model\\0"',
        "14:10: Body.SharedContent[0].Src: the text has the invisible character U+0000; remove it",
    ),
    (
        "MType: BIND -> MType: BINDS",
        "16:12: Body.SharedContent[0].MType: expected BIND or VOLUME, found 'BINDS'; did you mean BIND?",
    ),
    ("MType: BIND -> MType: TMPFS", "16:12: Body.SharedContent[0].MType: expected BIND or VOLUME, found 'TMPFS'"),
    (
        "MType: BIND -> MType: VOLUME",
        "14:10: Body.SharedContent[0].Src: expected a volume's name (letters, digits, '_', '.', '-'), found",
    ),
    ("    MType: BIND\n -> ", "14:5: Body.SharedContent[0].MType: the key is missing"),
    ("Tgt: /tmp/model -> Tgt: model", "15:10: Body.SharedContent[0].Tgt: expected an absolute path, found 'model'"),
    (
        "Tgt: /tmp/model -> Tgt: /",
        "15:10: Body.SharedContent[0].Tgt: the root folder cannot be used here; name a folder below it",
    ),
    ("Tgt: -> Target:", "15:5: Body.SharedContent[0].Target: unknown key; did you mean Tgt?"),
    (
        "    MType: BIND\n -> "
        + "    MType: BIND\n"
        + "".join(f"  - {{Src: /a, Tgt: /b{n}, MType: BIND}}\n" for n in range(10)),
        "14:3: Body.SharedContent: expected a list of 1 to 10 items, found 11",
    ),
    (
        "Tgt: /tmp/model -> Tgt: /tmp/data/",
        "15:10: Body.SharedContent[0].Tgt: /tmp/data is already used by another mount",
    ),
    (
        "MType: BIND -> MType: BIND\n  - {Src: models, Tgt: /tmp/model, MType: VOLUME}",
        "17:24: Body.SharedContent[1].Tgt: /tmp/model is already used by another mount",
    ),
]

BUILD_CHANGES: list[tuple[str, str]] = [
    ("BuildType: INLINE -> BuildType: REMOTE", "8:14: Body.BuildType: REMOTE builds do not exist; use INLINE"),
    ("BuildType: INLINE -> BuildType: LOCAL", "8:14: Body.BuildType: expected INLINE or REMOTE, found 'LOCAL'"),
    (
        "BuildContext: sl-cli-lib -> BuildContext: ab",
        "7:17: Body.BuildContext: expected text of 3 to 160 characters, found 2",
    ),
    (
        "BuildContext: sl-cli-lib -> BuildContext: /srv/context",
        "7:17: Body.BuildContext: expected a volume's name (letters, digits, '_', '.', '-'), found",
    ),
    (
        "BuildContext: sl-cli-lib -> BuildContext: ../lib",
        "7:17: Body.BuildContext: expected a volume's name (letters, digits, '_', '.', '-'), found '../lib'",
    ),
    (
        "  BuildSteps:\n  - FROM python:3.11\n  - RUN pip install numpy\n -> ",
        "7:3: Body.BuildSteps: the key is missing",
    ),
    (
        "  BuildSteps:\n  - FROM python:3.11\n  - RUN pip install numpy\n ->   BuildSteps: []\n",
        "9:15: Body.BuildSteps: expected a list of 1 to 80 items, found 0",
    ),
    (
        "  BuildSteps:\n  - FROM python:3.11\n  - RUN pip install numpy\n ->   BuildSteps: FROM python\n",
        "9:15: Body.BuildSteps: expected a list, found 'FROM python'",
    ),
    ("- RUN pip install numpy -> - RUN: pip", "11:5: Body.BuildSteps[1]: expected text, found a mapping"),
    (
        "- RUN pip install numpy -> " + "- " + "RUN " * 41,
        "11:5: Body.BuildSteps[1]: expected text of 1 to 160 characters, found 163",
    ),
    ("- RUN pip install numpy -> - ", "11:4: Body.BuildSteps[1]: expected text, found null"),
    (
        "- RUN pip install numpy\n -> " + "- RUN a\n" * 80,
        "12:1: not valid YAML: expected <block end>, but found '-' while parsing a block mapping, which",
    ),
    (
        "- RUN pip install numpy -> - |\n    RUN a\n    RUN b",
        "11:5: Body.BuildSteps[1]: expected text of a single line, found several lines",
    ),
    ("BuildSteps: -> Buildsteps:", "9:3: Body.Buildsteps: unknown key; did you mean BuildSteps?"),
]

PULL_CHANGES: list[tuple[str, str]] = [
    ("Tag: 1.0 -> Tag: -1", "9:8: Body.Tag: expected a tag of letters, digits, '_', '.' and '-', found '-1'"),
    ("Tag: 1.0 -> Tag: 'a b'", "9:8: Body.Tag: expected a tag of letters, digits, '_', '.' and '-', found 'a b'"),
    ("  Tag: 1.0\n -> ", "7:3: Body.Tag: the key is missing"),
    (
        "RepoName: user-env -> RepoName: User-Env",
        "8:13: Body.RepoName: expected a repository's name in small letters, found 'User-Env'",
    ),
    (
        "RepoName: user-env -> RepoName: ../../x",
        "8:13: Body.RepoName: expected a repository's name in small letters, found '../../x'",
    ),
    (
        "registry.example.org/team -> https://registry.example.org/team",
        "7:14: Body.OrgAndReg: expected a registry and organisation, such as registry.example.org/team,",
    ),
    ("    Password: secret\n -> ", "11:5: Body.Auth.Password: the key is missing"),
    ("Password: secret -> Password: [secret]", "12:15: Body.Auth.Password: expected text, found a list"),
    ("Username: swarm -> User: swarm", "11:5: Body.Auth.User: unknown key; did you mean Username?"),
    (
        "Auth:\n    Username: swarm\n    Password: secret -> Auth: config.json",
        "10:9: Body.Auth: expected an absolute path, found 'config.json'",
    ),
    (
        "Auth:\n    Username: swarm\n    Password: secret -> Auth: [swarm, secret]",
        "10:9: Body.Auth: expected text, found a list",
    ),
    (
        "Auth:\n    Username: swarm\n    Password: secret -> Auth: /srv/../etc/config.json",
        "10:9: Body.Auth: the path '/srv/../etc/config.json' contains '..'; write the path that is meant",
    ),
]

CONTENT_CHANGES: list[tuple[str, str]] = [
    (
        "SWARMCONTENT -> USERCONTENT",
        "7:16: Body.ContentType: expected BUILDCONTENT or SWARMCONTENT, found 'USERCONTENT'; did you mean",
    ),
    (
        "Operation: DOWNLOAD -> Operation: UPLOAD",
        "9:16: Body.OpsList[0].Operation: expected DOWNLOAD or EXTRACT, found 'UPLOAD'",
    ),
    (
        "https://example.org/data.tar -> ftp://example.org/data.tar",
        "10:13: Body.OpsList[0].Target: expected a URL that begins with http://, https:// or file:///, found",
    ),
    (
        "https://example.org/data.tar -> data.tar",
        "10:13: Body.OpsList[0].Target: expected a URL that begins with http://, https:// or file:///, found",
    ),
    (
        "https://example.org/data.tar -> https:///data.tar",
        "10:13: Body.OpsList[0].Target: expected a URL that begins with http://, https:// or file:///, found",
    ),
    (
        "https://example.org/data.tar -> file:///srv/%2e%2e/etc",
        "10:13: Body.OpsList[0].Target: the path of 'file:///srv/%2e%2e/etc' contains '..'; write the path",
    ),
    (
        "https://example.org/data.tar -> file://host/srv",
        "10:13: Body.OpsList[0].Target: expected a URL that begins with http://, https:// or file:///, found",
    ),
    (
        "https://example.org/data.tar -> 'https://example.org/a b'",
        "10:13: Body.OpsList[0].Target: expected a URL that begins with http://, https:// or file:///, found",
    ),
    (
        "https://example.org/data.tar -> http://[::1",
        "10:13: Body.OpsList[0].Target: expected a URL that begins with http://, https:// or file:///, found",
    ),
    (
        "Out: archives/data.tar -> Out: ../data.tar",
        "12:12: Body.OpsList[0].Options[0].Out: the path '../data.tar' contains '..'; it must stay within",
    ),
    (
        "Out: archives/data.tar -> Out: /../data.tar",
        "12:12: Body.OpsList[0].Options[0].Out: the path '/../data.tar' contains '..'; it must stay within",
    ),
    ("- Out: archives -> - Into: archives", "12:7: Body.OpsList[0].Options[0].Into: unknown key; known keys are Out"),
    (
        "Out: archives/data.tar -> Out: a\n    - Out: b",
        "12:5: Body.OpsList[0].Options: expected a list of 0 to 1 items, found 2",
    ),
    (
        "  OpsList:\n -> " + "  OpsList:\n" + "  - {Operation: EXTRACT, Target: a}\n" * 20,
        "9:3: Body.OpsList: expected a list of 1 to 20 items, found 21",
    ),
    ("    Target: https://example.org/data.tar\n -> ", "9:5: Body.OpsList[0].Target: the key is missing"),
]

TABLES = ((RUN, RUN_CHANGES), (BUILD, BUILD_CHANGES), (PULL, PULL_CHANGES), (CONTENT, CONTENT_CHANGES))


@pytest.mark.parametrize(
    ("good", "change", "message"),
    [(good, change, message) for good, changes in TABLES for change, message in changes],
)
def test_what_is_wrong_is_said_with_its_place(good: str, change: str, message: str) -> None:
    old, new = change.split(" -> ")
    assert old in good
    with pytest.raises(DocumentError) as caught:
        read_task_file(good.replace(old, new, 1).encode(), "task.yaml")
    assert str(caught.value).startswith(f"task.yaml:{message}")
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize("good", [good for good, _ in TABLES])
def test_without_a_change_they_are_read(good: str) -> None:
    assert read_task_file(good.encode(), "task.yaml").lines
