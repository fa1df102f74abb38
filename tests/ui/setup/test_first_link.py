"""The link by which the first user is made: good once, for a while, and only while there is nobody."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from support.uiapp import HOST, PASSWORD, App, ui_app
from swarmlearning.ui.security.firstlink import SECONDS, FirstLink


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """An application without users."""
    async with ui_app(tmp_path) as made:
        await made.site.database.run(lambda sql: sql.execute("DELETE FROM users"))
        yield made


def token_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["token"][0]


def form(token: str, **changed: str) -> dict[str, str]:
    return {"token": token, "name": "ada", "password": PASSWORD, "again": PASSWORD, **changed}


async def test_the_link_makes_the_first_user_an_admin_who_is_logged_in(app: App) -> None:
    link, person = app.site.first.made(HOST + "/"), app.somebody()
    assert link.startswith(f"{HOST}/first?token=")
    page = await person.page(link.removeprefix(HOST))
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    answer = await person.post("/first", data=form(token_of(link)))
    assert (answer.status_code, answer.headers["location"]) == (303, "/setup")
    assert (await person.page("/settings")).status_code == 200
    assert [(each.name, each.role) for each in await app.site.users.all()] == [("ada", "admin")]
    await app.somebody().log_in("ada")


async def test_it_is_good_once(app: App) -> None:
    token = token_of(app.site.first.made(HOST))
    answers = await asyncio.gather(
        *(app.somebody().post("/first", data=form(token, name=f"user-{number}")) for number in range(4))
    )
    assert sorted(each.status_code for each in answers) == [303, 403, 403, 403]
    assert len(await app.site.users.all()) == 1
    assert (await app.somebody().page(f"/first?token={token}")).headers["location"] == "/"


async def test_another_token_makes_nobody_and_neither_does_none(app: App) -> None:
    token = token_of(app.site.first.made(HOST))
    for wrong in ("", token[:-1], token + "x", "ä" * 43, "\x00"):
        assert (await app.somebody().page("/first", params={"token": wrong})).status_code == 403
        assert (await app.somebody().post("/first", data=form(wrong))).status_code in (403, 422)
    assert (await app.somebody().post("/first", data=form("x" * 200))).status_code == 422
    assert await app.site.users.nobody()
    assert app.site.first.opens(token)


async def test_without_a_link_nothing_opens(app: App) -> None:
    assert (await app.somebody().post("/first", data=form(""))).status_code in (403, 422)
    assert (await app.somebody().post("/first", data=form("x"))).status_code == 403
    assert await app.site.users.nobody()


async def test_it_is_no_longer_good_after_a_while_and_a_new_one_replaces_it() -> None:
    now = [0.0]
    link = FirstLink(lambda: now[0])
    first, second = token_of(link.made(HOST)), token_of(link.made(HOST))
    assert [link.opens(first), link.opens(second)] == [False, True]
    now[0] = SECONDS - 1
    assert link.opens(second)
    now[0] = SECONDS
    assert not link.opens(second)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"password": "short", "again": "short"}, "at least 12 characters"),
        ({"again": PASSWORD + "x"}, "two different ways"),
        ({"name": " ada"}, "printable characters"),
    ],
)
async def test_what_is_wrong_is_said_and_the_link_stays_good(app: App, changed: dict[str, str], why: str) -> None:
    token = token_of(app.site.first.made(HOST))
    answer = await app.somebody().post("/first", data=form(token, **changed))
    assert answer.status_code == 409
    assert why in answer.text
    assert f'value="{token}"' in answer.text
    assert PASSWORD not in answer.text
    assert app.site.first.opens(token)


async def test_the_page_to_sign_in_says_where_the_link_is(app: App) -> None:
    assert "Open the link that “swarm ui” has printed" in (await app.somebody().page("/login")).text
    await app.site.users.add_first("ada", "hash")
    assert "has printed" not in (await app.somebody().page("/login")).text


async def test_a_request_of_another_site_makes_nobody(app: App) -> None:
    token = token_of(app.site.first.made(HOST))
    headers = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert (await app.somebody().post("/first", data=form(token), headers=headers)).status_code == 403
    assert await app.site.users.nobody()
