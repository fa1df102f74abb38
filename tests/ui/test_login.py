"""Logging in and out, and what a session allows, in the application itself."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.uiapp import PASSWORD, App, ui_app
from swarmlearning.ui.pages.login import local
from swarmlearning.ui.security.throttle import FREE


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with ui_app(tmp_path) as made:
        yield made


async def test_a_page_leads_to_the_login_and_from_there_to_the_page(app: App) -> None:
    person = app.somebody()
    answer = await person.page("/ledger?search=x+y")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?to=%2Fledger%3Fsearch%3Dx%2By")
    form = await person.page(answer.headers["location"])
    assert 'name="to" value="/ledger?search=x+y"' in form.text
    answer = await person.post("/login", data={"name": "ADA", "password": PASSWORD, "to": "/ledger?search=x+y"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ledger?search=x+y")
    assert (await person.page("/ledger")).status_code == 200


async def test_the_cookie_is_for_this_host_and_no_script(app: App) -> None:
    answer = await app.somebody().post("/login", data={"name": "ada", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-swarm=")
    assert all(f"; {part}" in cookie for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"))
    assert "Domain" not in cookie


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong horse battery"), ("nobody", PASSWORD)])
async def test_a_wrong_name_and_a_wrong_password_look_the_same(app: App, name: str, password: str) -> None:
    answer = await app.somebody().post("/login", data={"name": name, "password": password})
    assert answer.status_code == 401
    assert "User name or password is wrong." in answer.text
    assert "set-cookie" not in answer.headers
    assert PASSWORD not in answer.text


async def test_an_unknown_user_costs_a_hash_too(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str | None] = []
    matches = app.site.passwords.matches

    async def counting(password: str, stored: str | None) -> bool:
        checked.append(stored)
        return await matches(password, stored)

    monkeypatch.setattr(app.site.passwords, "matches", counting)
    await app.somebody().post("/login", data={"name": "nobody", "password": PASSWORD})
    assert checked == [None]


async def test_guessing_is_slowed_down_and_the_right_password_too(app: App) -> None:
    person = app.somebody()
    for _ in range(FREE):
        assert (await person.post("/login", data={"name": "ada", "password": "wrong"})).status_code == 401
    for password in ("wrong", PASSWORD):
        answer = await person.post("/login", data={"name": "ada", "password": password})
        assert answer.status_code == 429
        assert "Try again in" in answer.text


async def test_guessing_the_present_password_in_a_session_is_slowed_down_as_a_login_is(app: App) -> None:
    person, new = await app.somebody().log_in("ada"), "another battery horse"
    for _ in range(FREE):
        await person.act("/account/password", old="wrong", new=new, again=new)
        assert "The present password is another one." in (await person.page("/account")).text
    for old in ("wrong", PASSWORD):
        await person.act("/account/password", old=old, new=new, again=new)
        assert "Too many wrong passwords. Try again in" in (await person.page("/account")).text
    assert (await app.somebody().post("/login", data={"name": "ada", "password": PASSWORD})).status_code == 429


async def test_who_logs_out_is_out_and_the_old_cookie_is_worth_nothing(app: App) -> None:
    person = await app.somebody().log_in("ada")
    cookie = person.cookies["__Host-swarm"]
    assert (await person.act("/logout")).headers["location"] == "/login"
    thief = app.somebody()
    thief.cookies.set("__Host-swarm", cookie)
    assert (await thief.page("/account")).status_code == 303


async def test_a_login_begins_a_new_session_and_ends_the_one_before(app: App) -> None:
    person = await app.somebody().log_in("ada")
    first = person.cookies["__Host-swarm"]
    await person.act("/login", name="ada", password=PASSWORD)
    assert person.cookies["__Host-swarm"] != first
    assert await app.site.sessions.user(first) is None


async def test_a_new_password_ends_all_sessions(app: App) -> None:
    person, other = await app.somebody().log_in("ada"), await app.somebody().log_in("ada")
    new = "another battery horse"
    wrong = await person.act("/account/password", old="wrong", new=new, again=new)
    assert wrong.headers["location"] == "/account"
    assert "The present password is another one." in (await person.page("/account")).text
    assert (await person.act("/account/password", old=PASSWORD, new=new, again=new)).headers["location"] == "/login"
    for each in (person, other):
        assert (await each.page("/account")).status_code == 303
    await app.somebody().log_in("ada", new)


@pytest.mark.parametrize("new", ["short", "aaaaaaaaaaaaaaa", "ada12345678"])
async def test_a_poor_password_is_refused_with_the_reason(app: App, new: str) -> None:
    person = await app.somebody().log_in("ada")
    await person.act("/account/password", old=PASSWORD, new=new, again=new)
    assert 'role="alert"' in (await person.page("/account")).text
    await app.somebody().log_in("ada")


async def test_language_and_appearance_are_the_persons_own(app: App) -> None:
    person = await app.somebody().log_in("ada")
    assert '<html lang="de">' in (await person.page("/account", headers={"accept-language": "de-DE"})).text
    await person.act("/account/preferences", language="de", theme="dark")
    assert '<html lang="de" data-theme="dark">' in (await person.page("/account")).text
    assert (await person.act("/account/preferences", language="fr")).status_code == 422


async def test_an_admin_cares_for_users(app: App) -> None:
    admin = await app.somebody().log_in("ada")
    await admin.act("/settings/users", name="Bob <b>", password=PASSWORD, role="viewer")
    page = (await admin.page("/settings")).text
    assert "Bob &lt;b&gt;" in page
    assert "<b>" not in page
    bob = await app.somebody().log_in("Bob <b>")
    assert (await bob.page("/settings")).status_code == 403
    await admin.act("/settings/users/role", name="Bob <b>", role="admin")
    assert (await bob.page("/settings")).status_code == 200
    await bob.act("/settings/users/remove", name="ada")
    assert (await admin.page("/settings")).status_code == 303
    await bob.act("/settings/users/remove", name="Bob <b>")
    assert "This is the last admin." in (await bob.page("/settings")).text


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("/ledger?x=1", "/ledger?x=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/\t/evil.example", "/"),
        ("", "/"),
        ("//[", "/"),
    ],
)
def test_a_login_goes_on_only_to_pages_of_this_ui(to: str, expected: str) -> None:
    assert local(to) == expected
