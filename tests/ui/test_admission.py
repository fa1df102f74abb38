"""What is let in: each path for each role, tokens, other sites, bodies, proxies; and the headers of all answers."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from support.uiapp import PASSWORD, App, Somebody, ui_app
from swarmlearning.ui.security.admission import MOST_FIELDS, MOST_FORM
from swarmlearning.ui.security.roles import BODY, ROLES, TABLE, Role, may
from swarmlearning.ui.settings import Serving

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with ui_app(tmp_path) as made:
        yield made


def paths() -> list[tuple[str, str]]:
    """All of the table, with something in the place of each parameter; without streams, which do not end."""
    return [(method, re.sub(r"\{[^}]+\}", "1", path)) for method, path in TABLE if path != "/events"]


async def ask(person: Somebody, method: str, path: str) -> httpx.Response:
    """A request with nothing in it but the token."""
    return await (person.get(path) if method == "GET" else person.act(path))


async def test_who_has_not_logged_in_gets_nothing_but_the_login(app: App) -> None:
    for method, path in paths():
        answer = await ask(app.somebody(), method, path)
        open_to_all = any(path.startswith(each) for each in ("/static", "/healthy", "/login", "/first"))
        assert open_to_all or answer.status_code in (303, 401), f"{method} {path}"
        assert "Denied" not in answer.text


@pytest.mark.parametrize("role", ROLES)
async def test_each_path_is_for_the_roles_that_the_table_has(app: App, role: Role) -> None:
    for (method, path), needed in zip(
        paths(), [each for key, each in TABLE.items() if key[1] != "/events"], strict=True
    ):
        answer = await ask(await app.someone(role), method, path)
        assert (answer.status_code == 403) == (not may(role, needed.role)), f"{method} {path}: {answer.status_code}"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((each, 200) for each in ("127.0.0.1:30302", "localhost", "LOCALHOST:1", "[::1]:30302", "127.0.0.2")),
        *(
            (each, 421)
            for each in ("evil.example", "evil.example:30302", "127.0.0.1.evil.example", "localhost.evil.example")
        ),
        *((each, 421) for each in ("", "10.0.0.1", "localhost@evil.example", "127.0.0.1:x", "é")),
    ],
)
async def test_without_tls_a_page_of_another_name_that_leads_here_reaches_nothing(
    tmp_path: Path, host: str, status: int
) -> None:
    """DNS rebinding: the browser takes it for a page of this UI, and sends its own name as the host."""
    async with ui_app(tmp_path, Serving(plain=True)) as app:
        person = app.somebody(host="http://127.0.0.1:30302")
        given = [(b"host", host.encode("latin-1"))]
        assert (await person.get("/login", headers=given)).status_code == status
        if status != 200:
            own = [*given, (b"origin", b"http://" + host.encode("latin-1"))]
            answer = await person.post("/login", data={"name": "ada", "password": PASSWORD}, headers=own)
            assert (answer.status_code, "set-cookie" in answer.headers) == (421, False)


async def test_a_forged_session_is_none(app: App) -> None:
    for value in ("x" * 43, "", "'; --", "é", "x" * 100_000):
        person = app.somebody()
        answer = await person.get("/account", headers=[(b"cookie", b"__Host-swarm=" + value.encode())])
        assert answer.status_code == 303


async def test_a_cookie_of_plain_http_is_none_of_tls(app: App) -> None:
    person = await app.somebody(host="http://ui.example").log_in("ada")
    thief = app.somebody()
    thief.cookies.set("swarm", person.cookies["swarm"])
    assert (await thief.page("/account")).status_code == 303


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
async def test_without_the_token_of_the_session_nothing_is_done(app: App, token: str) -> None:
    person = await app.somebody().log_in("ada")
    person.csrf = token
    answer = await person.act("/account/preferences", theme="dark")
    assert answer.status_code == 403
    assert "nothing was done" in answer.text
    person.csrf = (await app.somebody().log_in("ada")).csrf  # of another session of the same user
    assert (await person.act("/account/preferences", theme="dark")).status_code == 403
    assert [user.theme for user in await app.site.users.all()] == [""]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://ui.example"},
        {"origin": "https://ui.example:444"},
        {"origin": "https://ui.example.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_what_another_site_sends_is_not_carried_out(app: App, headers: dict[str, str]) -> None:
    person = await app.somebody().log_in("ada")
    assert (await person.act("/account/preferences", headers, theme="dark")).status_code == 403
    stranger = app.somebody()
    answer = await stranger.post("/login", data={"name": "ada", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 403
    assert [user.theme for user in await app.site.users.all()] == [""]


async def test_the_own_site_and_programs_are_let_in(app: App) -> None:
    person = await app.somebody().log_in("ada")
    own = {"origin": "https://UI.example:443", "sec-fetch-site": "same-origin"}
    assert (await person.act("/account/preferences", own, theme="dark")).status_code == 303
    by_header = {"x-csrf-token": person.csrf, "accept": "application/json"}
    answer = await person.post("/account/preferences", data={"theme": "light"}, headers=by_header)
    assert (answer.status_code, answer.json()["kind"]) == (200, "done")
    files = await person.post(f"/account/preferences?csrf={person.csrf}", files={"theme": (None, "dark")})
    assert files.status_code == 303
    refused = await person.post("/account/preferences?csrf=0", files={"theme": (None, "dark")})
    assert refused.status_code == 403


async def test_a_body_is_bounded_whatever_its_length_is_said_to_be(app: App) -> None:
    person = await app.somebody().log_in("ada")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (BODY // 2)

    form = {"x-csrf-token": person.csrf, "content-type": "application/x-www-form-urlencoded"}
    for content in (b"x" * (BODY + 1), endless()):
        assert (await person.post("/account/preferences", content=content, headers=form)).status_code == 413
    lying = {**form, "content-length": "x"}
    assert (await person.post("/account/preferences", content=b"", headers=lying)).status_code == 413


async def test_a_form_is_bounded_before_its_token_is_read(app: App) -> None:
    """Also where the path takes larger files: a form is read whole."""
    person = await app.somebody().log_in("ada")
    form = {"content-type": "application/x-www-form-urlencoded"}

    async def large() -> AsyncIterator[bytes]:
        for _ in range(MOST_FORM // 2**20 + 1):
            yield b"x" * 2**20

    assert (await person.post("/projects/p/upload", content=large(), headers=form)).status_code == 413
    many = "&".join(["a=1"] * (MOST_FIELDS + 1))
    assert (await person.post("/account/preferences", content=many.encode(), headers=form)).status_code == 413
    assert (await person.post(f"/account/preferences?{many}", files={"theme": (None, "dark")})).status_code == 413


async def test_every_answer_has_the_headers_that_keep_browsers_safe(app: App) -> None:
    person = await app.somebody().log_in("ada")
    for answer in (
        await person.page("/"),
        await person.get("/none"),
        await app.somebody().get("/"),
        await person.act("/"),
    ):
        assert HEADERS.items() <= answer.headers.items()
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert all(part in policy for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"))
        assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert (await app.somebody(host="http://ui.example").get("/login")).headers.get("strict-transport-security") is None


async def test_nothing_in_a_page_needs_more_than_the_policy_allows(app: App) -> None:
    person = await app.somebody().log_in("ada")
    for path in ("/", "/ledger", "/settings", "/account", "/none"):
        text = (await person.page(path)).text
        assert not re.search(
            r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?! type=\"(module\" src|application/json))", text
        )


async def test_errors_are_pages_for_people_and_data_for_programs(app: App) -> None:
    person = await app.somebody().log_in("ada")
    assert "There is no such page." in (await person.page("/<script>")).text
    answer = await person.get("/ledger/9.json")
    assert (answer.status_code, answer.json()["status"]) == (404, 404)
    assert (await person.get("/ledger?below=-1", headers={"accept": "application/json"})).json()["status"] == 422
    assert (await app.somebody().get("/overview.json")).json()["status"] == 401
    assert (await person.request("DELETE", "/settings")).status_code == 405


async def test_behind_a_proxy_the_browser_is_who_the_proxy_says_and_nobody_comes_in_beside_it(tmp_path: Path) -> None:
    told = {
        "x-forwarded-for": "6.6.6.6, 203.0.113.7",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "ui.hospital.example",
    }
    async with ui_app(tmp_path, Serving(plain=True, proxy="192.0.2.9")) as app:
        behind = app.somebody("192.0.2.9", "http://127.0.0.1:30302")
        form = {"name": "ada", "password": PASSWORD}
        answer = await behind.post("/login", data=form, headers={**told, "origin": "https://ui.hospital.example"})
        assert answer.status_code == 303
        assert answer.headers["set-cookie"].startswith("__Host-swarm=")
        (session,) = await app.site.sessions.of("ada")
        assert session.address == "203.0.113.7"
        beside = app.somebody("198.51.100.1", "http://127.0.0.1:30302")
        assert (await beside.post("/login", data=form, headers=told)).status_code == 403


async def test_without_a_proxy_nobody_is_believed_about_another_address(app: App) -> None:
    told = {"x-forwarded-for": "203.0.113.7", "x-forwarded-host": "evil.example"}
    await app.somebody("192.0.2.5").post("/login", data={"name": "ada", "password": PASSWORD}, headers=told)
    (session,) = await app.site.sessions.of("ada")
    assert session.address == "192.0.2.5"
