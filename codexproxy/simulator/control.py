"""``/_sim/…``: how tests and the demo steer the simulator. JSON in, JSON out."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from codexproxy.simulator.connection import Answer
from codexproxy.simulator.delivery import BadScript
from codexproxy.simulator.http import Request
from codexproxy.simulator.recorder import CONTROL_PREFIX
from codexproxy.simulator.replies import json_reply
from codexproxy.simulator.rules import UnknownRule
from codexproxy.simulator.tokens import Login

if TYPE_CHECKING:
    from codexproxy.simulator.world import World

Json = dict[str, Any]
Action = Callable[["World", Json], Any]


def control(world: "World", request: Request) -> Answer:
    """Carries out one control request; unusable ones are told why, with 400."""
    action = _ACTIONS.get((request.method, request.path.removeprefix(CONTROL_PREFIX).rstrip("/")))
    if action is None:
        return json_reply({"error": f"no control {request.method} {request.path}"}, 404)
    try:
        fields = request.json() if request.body else dict(request.query)
        if not isinstance(fields, dict):
            raise ValueError("the body must be an object")
        return json_reply(action(world, fields))
    except (BadScript, UnknownRule, ValueError, TypeError, KeyError) as error:
        return json_reply({"error": f"{type(error).__name__}: {error}"}, 400)


def _reset(world: "World", fields: Json) -> Json:
    world.reset()
    return {"ok": True}


def _set_rules(world: "World", fields: Json) -> Json:
    for name, value in fields.items():
        world.rules.set(name, value)
    return world.rules.values()


def _queue(world: "World", fields: Json) -> Json:
    endpoint = fields.get("endpoint", "responses")
    if endpoint not in ENDPOINTS:
        raise ValueError(f"no endpoint {endpoint!r}; known are {', '.join(ENDPOINTS)}")
    world.scripts.push(endpoint, fields["scripts"], fields.get("match"), int(fields.get("repeat", 1)))
    return world.scripts.lengths()


ENDPOINTS = ("responses", "compact", "models", "usage", "accounts", "token", "revoke", "usercode", "device_token")


def _requests(world: "World", fields: Json) -> list[Json]:
    path, match, after = fields.get("path"), fields.get("match"), int(fields.get("after", 0))
    return [
        seen.as_dict()
        for seen in world.recorder.requests
        if seen.number > after and path in (None, seen.request.path) and (not match or seen.request.contains(match))
    ]


def _counters(world: "World", fields: Json) -> Json:
    return {**world.recorder.counters(), "reuse_detections": world.tokens.reused}


def _login(world: "World", fields: Json) -> Json:
    lifetime = fields.pop("lifetime", None)
    login = Login(**{name: value for name, value in fields.items() if value is not None})
    return world.tokens.issue(login, lifetime).as_tokens_json()


def _settings(world: "World", fields: Json) -> Json:
    """Sets what is not a rule; unknown names are refused."""
    for name, value in fields.items():
        if name not in _SETTERS:
            raise ValueError(f"no setting {name!r}; known are {', '.join(_SETTERS)}")
        _SETTERS[name](world, value)
    return {"ok": True}


_SETTERS: dict[str, Callable[["World", Any], None]] = {
    "access_lifetime": lambda world, value: setattr(world.tokens, "lifetime", float(value)),
    "pace_ms": lambda world, value: setattr(world, "pace_ms", float(value)),
    "official_instructions": lambda world, value: setattr(world, "official_instructions", value),
    "person": lambda world, value: setattr(world, "person", dict(value)),
    "device_interval": lambda world, value: setattr(world.devices, "interval", value),
    "keep_requests": lambda world, value: setattr(world.recorder, "keeping", bool(value)),
    "quota": lambda world, value: world.quota.update(value),
    "models": lambda world, value: world.catalogue.replace(value),
}


def _revoke(world: "World", fields: Json) -> Json:
    return {"known": world.tokens.revoke(fields["token"])}


def _expire(world: "World", fields: Json) -> Json:
    return {"known": world.tokens.expire(fields["token"])}


def _device(world: "World", fields: Json) -> Json:
    state = {"approve": "approved", "deny": "denied"}[fields.get("decision", "approve")]
    return {"known": world.devices.settle(fields.get("user_code"), state)}


def _open_gate(world: "World", fields: Json) -> Json:
    world.gates.open(fields["name"])
    return {"ok": True}


_ACTIONS: dict[tuple[str, str], Action] = {
    ("GET", "health"): lambda world, fields: {"status": "ok"},
    ("POST", "reset"): _reset,
    ("GET", "rules"): lambda world, fields: world.rules.values(),
    ("POST", "rules"): _set_rules,
    ("GET", "scripts"): lambda world, fields: world.scripts.lengths(),
    ("POST", "scripts"): _queue,
    ("GET", "requests"): _requests,
    ("GET", "counters"): _counters,
    ("POST", "login"): _login,
    ("POST", "settings"): _settings,
    ("GET", "tokens"): lambda world, fields: world.tokens.known(),
    ("POST", "tokens/revoke"): _revoke,
    ("POST", "tokens/expire"): _expire,
    ("GET", "device"): lambda world, fields: [
        {"user_code": item.user_code, "state": item.state} for item in world.devices.attempts
    ],
    ("POST", "device"): _device,
    ("POST", "gates"): _open_gate,
}
