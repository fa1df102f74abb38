"""The fields of a form by which somebody logs in at hosts (`macros/login.html`). What is entered is in the request, and
in the job that it begins, and nowhere else."""

from typing import Annotated, TypeAlias

from fastapi import Depends, Form, UploadFile

from swarmlearning.ui.access import GivenLogin
from swarmlearning.ui.hosts.logins import MOST, Secret

_Text = Annotated[str, Form(max_length=MOST)]


async def given_login(
    user: Annotated[str, Form(max_length=256)] = "",
    password: Annotated[str, Form(max_length=4096)] = "",
    key: _Text = "",
    key_file: UploadFile | None = None,
    passphrase: Annotated[str, Form(max_length=4096)] = "",
    keep: Annotated[bool, Form()] = False,
) -> GivenLogin:
    """What was entered. Of a file that is no private key the login at the host says so."""
    if key_file is not None and (data := await key_file.read(MOST)):
        key = data.decode("utf-8", "replace")
    key = key.replace("\r\n", "\n").strip()[: MOST - 1]
    secret = Secret(f"{key}\n" if key else "")
    return GivenLogin(user.strip(), Secret(password), secret, Secret(passphrase), keep)


Given: TypeAlias = Annotated[GivenLogin, Depends(given_login)]
"""The parameter of an action that needs a login; the path's body is `LOGIN` in the table of roles."""
