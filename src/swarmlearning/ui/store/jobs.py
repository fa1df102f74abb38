"""Jobs that have ended, and those that run, so that a UI that starts anew knows what its former self has left."""

import sqlite3
from typing import Final

import msgspec

from swarmlearning.ui.jobs.views import JobView
from swarmlearning.ui.store.database import Database

MOST_KEPT: Final = 200


class PastJobs:
    """One row a job; the oldest go when there are more than `MOST_KEPT`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> list[JobView]:
        """All that are kept; those that ran when the UI ended are `interrupted` from now on. Outside of tasks."""

        def read(sql: sqlite3.Connection) -> list[JobView]:
            rows = sql.execute("SELECT view FROM jobs ORDER BY id DESC LIMIT ?", (MOST_KEPT,)).fetchall()
            return [job for (view,) in rows if (job := _read(view)) is not None]

        return self._database.now(read)

    async def keep(self, job: JobView) -> None:
        """Keeps a job as it is now."""

        def write(sql: sqlite3.Connection) -> None:
            sql.execute("INSERT OR REPLACE INTO jobs VALUES (?, ?)", (job.id, msgspec.json.encode(job).decode()))
            sql.execute("DELETE FROM jobs WHERE id <= ?", (job.id - MOST_KEPT,))

        await self._database.run(write)


def _read(view: str) -> JobView | None:
    """A job that is kept; None for one of another release that this one cannot read."""
    try:
        job = msgspec.json.decode(view, type=JobView)
    except msgspec.DecodeError:
        return None
    return msgspec.structs.replace(job, state="interrupted") if job.state == "running" else job
