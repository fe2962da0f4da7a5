"""A script and a request become the events of one answer. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from codexproxy.simulator.events import EventLog, Frame, Ids, Json, response_object, usage_object
from codexproxy.simulator.items import Stage, render_items
from codexproxy.simulator.quota import Quota
from codexproxy.simulator.refusals import usage_limit_error
from codexproxy.simulator.rules import Active

OVERLOADED = "Our servers are currently overloaded. Please try again later."
ENCRYPTED = "reasoning.encrypted_content"


@dataclass(slots=True)
class Circumstances:
    """What an answer depends on beside its script; ``now`` is in epoch seconds."""

    body: Json
    account_id: str
    plan: str
    now: float
    rules: Active
    quota: Quota
    input_tokens: int
    cached_tokens: int = 0


@dataclass(slots=True)
class Scene:
    """An answer in the making."""

    script: Json
    around: Circumstances
    stage: Stage
    response: Json

    @property
    def log(self) -> EventLog:
        """Where the events go."""
        return self.stage.log

    def finished(self, status: str, **changes: Any) -> Json:
        """The Response object at the end."""
        tier = "priority" if self.around.body.get("service_tier") == "priority" else "default"
        output = [] if self.around.rules.on("empty_final_output") else self.stage.output
        common = {"status": status, "completed_at": None, "service_tier": tier, "output": output}
        return {**self.response, **common, "usage": self.usage(), **changes}

    def usage(self) -> Json | None:
        """The script's usage, else an estimate of four bytes a token."""
        if "usage" in self.script:
            given: Json | None = self.script["usage"]
            return given
        log_size = sum(len(payload) for type, payload in self.log.frames if type.endswith(".done"))
        thinking = 16 * sum(item.get("type") == "reasoning" for item in self.stage.output)
        spoken = max(1, log_size // 16)
        around = self.around
        return usage_object(around.input_tokens, around.cached_tokens, spoken + thinking, thinking)


def render_answer(script: Json, around: Circumstances) -> list[Frame]:
    """All events of an answer, terminal event included.

    Raises:
        KeyError: The script names an unknown item type or end, or lacks a field.
    """
    scene = _opening(script, around)
    log, rules = scene.log, around.rules
    log.add("response.created", response=scene.response)
    log.add("response.in_progress", response=scene.response)
    if rules.on("rate_limits_event"):
        log.add("codex.rate_limits", **around.quota.as_event(around.plan, around.now))
    if rules.on("safety_buffering"):
        log.add("response.metadata", metadata={"safety_buffering": True})
    refused = _refused_inside(scene)
    if not refused:
        render_items(list(script.get("items") or []), scene.stage)
        _ENDS[script.get("end", "completed")](scene)
    return log.frames


def _opening(script: Json, around: Circumstances) -> Scene:
    body, rules = around.body, around.rules
    ids = Ids()
    log = EventLog(script.get("omit_events") or ())
    included = ENCRYPTED in (body.get("include") or [])
    encrypted = included or not rules.on("encrypted_only_if_included")
    stage = Stage(log, ids, around.account_id, str(body.get("model")), encrypted)
    if script.get("end") == "incomplete":
        stage.status = "incomplete"
    response = response_object(body, script.get("response_id") or ids.new("resp"), int(around.now))
    return Scene(script, around, stage, {**response, **(script.get("response") or {})})


def _refused_inside(scene: Scene) -> bool:
    rules = scene.around.rules
    if rules.on("usage_limit") and rules.option("usage_limit", "variant") == "in_stream" and rules.fires("usage_limit"):
        error = usage_limit_error(rules, scene.around.plan, scene.around.now)
        scene.log.add("error", status_code=429, error=error, headers=scene.around.quota.headers(scene.around.now))
        return True
    if rules.fires("overload_in_200"):
        code = rules.option("overload_in_200", "code", "server_is_overloaded")
        message = rules.option("overload_in_200", "message", OVERLOADED)
        scene.script = {**scene.script, "error": {"code": code, "message": message}}
        _ENDS[rules.option("overload_in_200", "event", "failed")](scene)
        return True
    return False


def _end_completed(scene: Scene) -> None:
    kind = "response.done" if scene.around.rules.on("response_done") else "response.completed"
    scene.log.add(kind, response=scene.finished("completed", completed_at=int(scene.around.now)))


def _end_incomplete(scene: Scene) -> None:
    details = {"reason": scene.script.get("reason", "max_output_tokens")}
    scene.log.add("response.incomplete", response=scene.finished("incomplete", incomplete_details=details))


def _error(scene: Scene) -> Json:
    given = scene.script.get("error") or {}
    return {"code": "server_error", "message": "An error occurred while processing your request.", **given}


def _end_failed(scene: Scene) -> None:
    error = _error(scene)
    failed = scene.finished("failed", error=error, output=[], usage=None)
    scene.log.add("response.failed", response=failed)


def _end_error(scene: Scene) -> None:
    error = {"param": None, **_error(scene)}
    if scene.around.rules.on("flat_error"):
        scene.log.add("error", **{key: value for key, value in error.items() if key != "type"})
    else:
        scene.log.add("error", error={"type": error["code"], **error})


def _end_error_then_failed(scene: Scene) -> None:
    _end_error(scene)
    _end_failed(scene)


_ENDS: dict[str, Callable[[Scene], None]] = {
    "completed": _end_completed,
    "incomplete": _end_incomplete,
    "failed": _end_failed,
    "error": _end_error,
    "error_then_failed": _end_error_then_failed,
    "none": lambda scene: None,
}
