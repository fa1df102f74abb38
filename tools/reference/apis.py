"""The page of HTTP interfaces, from the applications' own descriptions (OpenAPI)."""

from typing import Any
from unittest.mock import MagicMock

from reference.markdown import cell, code, prose_of, table
from swarmlearning.sn.api.app import make_api as make_sn_api
from swarmlearning.swci.web.app import make_api


def page() -> str:
    """The page."""
    parts = [
        "# HTTP interfaces\n\nAll of them are reached over mutual TLS 1.3 with a certificate of the network. A running "
        "node describes its own at `/openapi.json`.\n"
    ]
    parts += [_interface(each) for each in descriptions()]
    return "\n".join(parts)


def descriptions() -> list[dict[str, Any]]:
    """The descriptions of all applications."""
    sn: Any = make_sn_api(MagicMock(), MagicMock(), "uid", lambda: "")
    while not hasattr(sn, "openapi"):  # below what guards it
        sn = next(each for each in vars(sn).values() if callable(each))
    return [sn.openapi(), make_api(MagicMock()).openapi()]


def _interface(description: dict[str, Any]) -> str:
    info = description["info"]
    parts = [f"## {info['title']}\n\n{info['description']}\n"]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts.append(f"### `{method.upper()} {path}`\n\n{prose_of(operation.get('description', ''))}\n")
            if rows := [_parameter(each) for each in operation.get("parameters", ())]:
                parts.append(table(("parameter", "in", ""), rows))
            answers = [(code(status), cell(each["description"])) for status, each in operation["responses"].items()]
            parts.append(table(("status", ""), answers))
    return "\n".join(parts)


def _parameter(parameter: dict[str, Any]) -> tuple[str, str, str]:
    about = parameter.get("description", parameter.get("schema", {}).get("type", ""))
    return code(parameter["name"]), parameter["in"], cell(about)
