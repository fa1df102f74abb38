"""A stand-in for an MLflow server: it speaks its REST API as far as it is used."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

TOKEN = "a token that is a secret"


class Standin:
    """Answers as MLflow 3.18 was seen to answer; `calls` are the paths of all requests."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.metrics: list[dict[str, Any]] = []
        self.parameters: dict[str, str] = {}
        self.calls: list[str] = []
        self.hides: set[str] = set()

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/base/api/2.0/mlflow/")
        self.calls.append(path)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401, text="")
        body: dict[str, Any] = await request.json() if request.method == "POST" else dict(request.query)
        match path:
            case "experiments/get-by-name":
                name = body["experiment_name"]
                if name in self.hides or name not in self.experiments:
                    self.hides.discard(name)
                    return web.json_response({"error_code": "RESOURCE_DOES_NOT_EXIST"}, status=404)
                return web.json_response({"experiment": {"experiment_id": self.experiments[name]}})
            case "experiments/create":
                if body["name"] in self.experiments:
                    return web.json_response({"error_code": "RESOURCE_ALREADY_EXISTS"}, status=400)
                self.experiments[body["name"]] = str(len(self.experiments) + 1)
                return web.json_response({"experiment_id": self.experiments[body["name"]]})
            case "runs/create":
                run = f"{len(self.runs):032x}"
                self.runs[run] = {**body, "status": "RUNNING"}
                return web.json_response({"run": {"info": {"run_id": run}}})
            case "runs/get" if body["run_id"] not in self.runs:
                return web.json_response({"error_code": "RESOURCE_DOES_NOT_EXIST"}, status=404)
            case "runs/log-batch":
                given = {each["key"]: each["value"] for each in body.get("params", ())}
                if any(self.parameters.get(key, value) != value for key, value in given.items()):
                    return web.json_response({"error_code": "INVALID_PARAMETER_VALUE"}, status=400)
                self.parameters |= given
                self.metrics += body["metrics"]
            case "runs/update":
                self.runs[body["run_id"]]["status"] = body["status"]
        return web.json_response({})


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/base/"
    finally:
        await runner.cleanup()
