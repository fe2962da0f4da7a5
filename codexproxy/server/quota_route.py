"""``GET /v1/quota``: how much of the accounts is used."""

import gevent
from flask import Blueprint, Response

from codexproxy.access.authorization import Right
from codexproxy.protocol.events import encode_json
from codexproxy.server.request_context import current
from codexproxy.server.services import Services

# Seconds for which upstream is waited for; what it says later is in the next report.
PATIENCE = 5.0


def quota_routes(services: Services) -> Blueprint:
    """The one route; the owner sees all, a named key its own use and the quotas of its group."""
    blueprint = Blueprint("quota", __name__)
    report = services.quota

    @blueprint.get("/quota")
    def quota() -> Response:
        gevent.joinall([gevent.spawn(report.ask, provider) for provider in report.stale()], timeout=PATIENCE)
        identity = current().identity
        everything = identity.may(Right.OWN)
        told = report.tell() if everything else report.tell(identity.provider_group, identity.name, identity.made_at)
        return Response(encode_json(told), content_type="application/json")

    return blueprint
