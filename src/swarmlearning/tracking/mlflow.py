"""A run on the site's own MLflow server, over its REST API (`/api/2.0/mlflow/…`), of which five calls are enough."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import aiohttp
import msgspec

from swarmlearning.errors import UserError
from swarmlearning.files import replace_file
from swarmlearning.proxies import proxy_url
from swarmlearning.tracking.tracker import Point, TrackerError
from swarmlearning.views.names import displayed

ANSWER_SECONDS: Final = 20.0
MOST_BYTES: Final = 1024 * 1024
LONGEST: Final = 300
"""Characters of an error: what the server has sent may be part of it."""
BATCH: Final = 1000
"""Metrics that MLflow takes in one request at most."""
NOT_FOUND: Final = "RESOURCE_DOES_NOT_EXIST"
EXISTS: Final = "RESOURCE_ALREADY_EXISTS"
CHANGED: Final = "INVALID_PARAMETER_VALUE"
LONGEST_PARAMETER: Final = 500
"""Characters of a parameter's value that any release of MLflow takes."""


class MlflowServer:
    """An address and its credentials; the latter are shown by no text of this class."""

    def __init__(self, uri: str, variables: Mapping[str, str]) -> None:
        """`variables`: MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD, by which MLflow's own client
        identifies itself; a proxy. Raises `UserError` for what is no http(s) URL."""
        try:
            parts = urlsplit(uri)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid or parts.username or parts.query or parts.fragment:
            raise UserError(
                "--mlflow-uri (SL_MLFLOW_URI) has the form https://HOST[:PORT][/PATH]. Put credentials into "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        self.address = uri.rstrip("/")
        self._proxy = proxy_url(parts.scheme, parts.hostname or "", variables)
        self._headers = _authorization(variables)

    def session(self) -> aiohttp.ClientSession:
        """Connections to the server, without cookies."""
        return aiohttp.ClientSession(
            headers=self._headers,
            proxy=self._proxy,
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )


class MlflowRun:
    """One run of a training as a run on an MLflow server. `kept`: where the run's ID stays, so that this node goes on
    with it after a restart."""

    def __init__(self, server: MlflowServer, experiment: str, name: str, tags: Mapping[str, str], kept: Path) -> None:
        self._server = server
        self._experiment = experiment
        self._name = name
        self._tags = tags
        self._kept = kept
        self._session: aiohttp.ClientSession | None = None
        self._run = ""

    async def add(self, points: Sequence[Point]) -> None:
        """Logs the points as metrics. Raises `TrackerError`."""
        run = await self._opened()
        for at in range(0, len(points), BATCH):
            metrics = [
                {"key": each.tag, "value": each.value, "timestamp": each.time_ms, "step": each.step}
                for each in points[at : at + BATCH]
            ]
            await self._call("POST", "runs/log-batch", {"run_id": run, "metrics": metrics})

    async def describe(self, parameters: Mapping[str, str]) -> None:
        """Logs these as the run's parameters, which MLflow never changes: those of an earlier start stay. Raises
        `TrackerError`."""
        run = await self._opened()
        found = [{"key": key, "value": value[:LONGEST_PARAMETER]} for key, value in parameters.items()]
        body = {"run_id": run, "params": found, "metrics": []}
        await self._call("POST", "runs/log-batch", body, accepted=(CHANGED,))

    async def close(self, *, complete: bool) -> None:
        """Ends the run on the server if the training is over; else it stays open for the next start."""
        try:
            if complete and self._run:
                await self._call(
                    "POST", "runs/update", {"run_id": self._run, "status": "FINISHED", "end_time": _now_ms()}
                )
        finally:
            if self._session is not None:
                await self._session.close()

    async def _opened(self) -> str:
        if not self._run:
            self._run = await self._earlier() or await self._created()
        return self._run

    async def _earlier(self) -> str:
        """The run of an earlier start, if the server still has it."""
        try:
            run = self._kept.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return ""
        if not run.isalnum() or len(run) > 64:
            return ""
        found = await self._call("GET", "runs/get", {"run_id": run}, accepted=(NOT_FOUND,))
        return run if found is not None else ""

    async def _created(self) -> str:
        experiment = await self._experiment_id()
        tags = [{"key": key, "value": value} for key, value in self._tags.items()]
        body = {"experiment_id": experiment, "run_name": self._name, "start_time": _now_ms(), "tags": tags}
        made = await self._call("POST", "runs/create", body)
        run = self._text(made, "run", "info", "run_id")
        try:
            replace_file(self._kept, run.encode("ascii", "replace"))
        except OSError as error:
            raise TrackerError(f"{self._kept} cannot be written: {error.strerror}") from error
        return run

    async def _experiment_id(self) -> str:
        name = {"experiment_name": self._experiment}
        found = await self._call("GET", "experiments/get-by-name", name, accepted=(NOT_FOUND,))
        if found is not None:
            return self._text(found, "experiment", "experiment_id")
        made = await self._call("POST", "experiments/create", {"name": self._experiment}, accepted=(EXISTS,))
        if made is None:  # another site of this organisation was first
            found = await self._call("GET", "experiments/get-by-name", name)
            return self._text(found, "experiment", "experiment_id")
        return self._text(made, "experiment_id")

    async def _call(
        self, method: Literal["GET", "POST"], path: str, body: Mapping[str, Any], accepted: Sequence[str] = ()
    ) -> Mapping[str, Any] | None:
        """The server's answer; None where it refuses with one of these codes. Raises `TrackerError`."""
        if self._session is None:
            self._session = self._server.session()
        url = f"{self._server.address}/api/2.0/mlflow/{path}"
        sent: dict[str, Any] = {"params": dict(body)} if method == "GET" else {"json": dict(body)}
        try:
            async with self._session.request(method, url, allow_redirects=False, **sent) as answer:
                status, data = answer.status, await _bounded(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._fault(f"does not answer: {displayed(str(error), LONGEST) or type(error).__name__}") from error
        try:
            found = msgspec.json.decode(data, type=dict[str, Any]) if data else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._fault(f"answers {status} with what is no JSON object; is it MLflow?") from error
        if status == 200:
            return found
        code = str(found.get("error_code", ""))[:100]
        if code in accepted:
            return None
        hint = "; check MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD" if status in (401, 403) else ""
        raise self._fault(f"answers {path} with {status} {json.dumps(code) if code else ''}".rstrip() + hint)

    def _text(self, answer: Any, *path: str) -> str:
        """A text within an answer. Raises `TrackerError`."""
        for key in path:
            answer = answer.get(key) if isinstance(answer, dict) else None
        if not isinstance(answer, str) or not answer.isalnum() or len(answer) > 64:
            raise self._fault(f"gives no {path[-1]}; is it MLflow?")
        return answer

    def _fault(self, text: str) -> TrackerError:
        return TrackerError(f"the MLflow server {self._server.address} {text}")


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """The body, as far as anything of it is of use. Raises `aiohttp.ClientError`."""
    data = bytearray()
    async for part in answer.content.iter_chunked(64 * 1024):
        data += part
        if len(data) > MOST_BYTES:
            raise aiohttp.ClientPayloadError(f"its answer is longer than {MOST_BYTES} bytes")
    return bytes(data)


def _now_ms() -> int:
    return time.time_ns() // 10**6


def _authorization(variables: Mapping[str, str]) -> dict[str, str]:
    if token := variables.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := variables.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{variables.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
