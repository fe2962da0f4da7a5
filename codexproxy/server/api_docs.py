"""``GET /openapi.json`` and ``GET /docs``: the API described, for machines and for people."""

from functools import cache
from itertools import groupby
from typing import Any

from flask import Blueprint, Response, render_template

from codexproxy import __version__
from codexproxy.protocol.events import encode_json
from codexproxy.server.operations import OPERATIONS
from codexproxy.server.services import Services

# The page needs nothing but its own style.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@cache
def description() -> dict[str, Any]:
    """The description, made when somebody first asks: its libraries take a while to import."""
    from codexproxy.server.openapi import document

    return document()


def reference_routes(services: Services) -> Blueprint:
    """The two routes."""
    blueprint = Blueprint("reference", __name__, template_folder="pages")

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return Response(encode_json(description()), content_type="application/json")

    @blueprint.get("/docs")
    def docs() -> Response:
        groups = [(tag, list(rows)) for tag, rows in groupby(OPERATIONS, key=lambda row: row.tag)]
        schemas = description()["components"]["schemas"]
        page = render_template("reference.html", groups=groups, schemas=schemas, version=__version__)
        headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
        return Response(page, headers=headers, content_type="text/html; charset=utf-8")

    return blueprint
