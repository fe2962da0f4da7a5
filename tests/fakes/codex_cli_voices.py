"""How the two transports of the Codex CLI say the same things. Standard library only.

See docs/reference/codex-cli.md#its-json-lines and docs/reference/codex-cli.md#asking-for-its-models.
"""

import json
import sys

USAGE = {"input": 10, "cached": 2, "output": 5, "reasoning": 1}


def write(message: object) -> None:
    """One JSON line."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class ExecVoice:
    """The words of ``codex exec --json``."""

    def tell(self, step, key):  # type: ignore[no-untyped-def]
        for event in self.events(step, key):
            write(event)

    def events(self, step, key):  # type: ignore[no-untyped-def]
        done = {"type": "item.completed"}
        if "say" in step:
            return [{**done, "item": {"id": key, "type": "agent_message", "text": step["say"]}}]
        if "think" in step:
            return [{**done, "item": {"id": key, "type": "reasoning", "text": "\n\n".join(step["think"])}}]
        if "command" in step:
            item = {"id": key, "type": "command_execution", "command": step["command"], "aggregated_output": ""}
            end = {"aggregated_output": step.get("output", ""), "exit_code": step.get("exit", 0), "status": "completed"}
            begin = {**item, "exit_code": None, "status": "in_progress"}
            return [{"type": "item.started", "item": begin}, {**done, "item": {**item, **end}}]
        if "change" in step:
            return [
                {**done, "item": {"id": key, "type": "file_change", "changes": step["change"], "status": "completed"}}
            ]
        if "search" in step:
            return [{**done, "item": {"id": key, "type": "web_search", "query": step["search"]}}]
        if "warn" in step:
            return [{**done, "item": {"id": key, "type": "error", "message": step["warn"]}}]
        if "retrying" in step:
            return [{"type": "error", "message": step["retrying"]}]
        if "fail" in step:
            return [
                {"type": "error", "message": step["fail"]},
                {"type": "turn.failed", "error": {"message": step["fail"]}},
            ]
        counts = {**USAGE, **step["done"]}
        names = {"input": "input_tokens", "cached": "cached_input_tokens", "output": "output_tokens"}
        usage = {name: counts[short] for short, name in names.items()}
        return [{"type": "turn.completed", "usage": {**usage, "reasoning_output_tokens": counts["reasoning"]}}]


class AppVoice:
    """The words of ``codex app-server``."""

    def __init__(self) -> None:
        self.thread = ""

    def notify(self, method, **params):  # type: ignore[no-untyped-def]
        write({"method": method, "params": {"threadId": self.thread, "turnId": "turn", **params}, "emittedAtMs": 1})

    def item(self, begin, end):  # type: ignore[no-untyped-def]
        self.notify("item/started", item=begin)
        self.notify("item/completed", item={**begin, **end})

    def tell(self, step, key):  # type: ignore[no-untyped-def]
        key = f"{key}-{self.thread}"
        if "say" in step:
            begin = {"type": "agentMessage", "id": key, "text": "", "phase": step.get("phase")}
            self.notify("item/started", item=begin)
            for delta in step.get("deltas", [step["say"]]):
                self.notify("item/agentMessage/delta", itemId=key, delta=delta)
            self.notify("item/completed", item={**begin, "text": step["say"]})
        elif "think" in step:
            begin = {"type": "reasoning", "id": key, "summary": [], "content": []}
            self.notify("item/started", item=begin)
            for index, text in enumerate(step["think"]):
                self.notify("item/reasoning/summaryPartAdded", itemId=key, summaryIndex=index)
                self.notify("item/reasoning/summaryTextDelta", itemId=key, summaryIndex=index, delta=text)
            self.notify("item/completed", item={**begin, "summary": step["think"]})
        elif "command" in step:
            begin = {"type": "commandExecution", "id": key, "command": step["command"], "status": "inProgress"}
            end = {"aggregatedOutput": step.get("output", ""), "exitCode": step.get("exit", 0), "status": "completed"}
            self.item(begin, end)
        elif "change" in step:
            changes = [{"path": change["path"], "kind": {"type": change["kind"]}} for change in step["change"]]
            self.item(
                {"type": "fileChange", "id": key, "changes": changes, "status": "inProgress"}, {"status": "completed"}
            )
        elif "search" in step:
            self.item({"type": "webSearch", "id": key, "query": step["search"]}, {})
        elif "warn" in step:
            write({"method": "warning", "params": {"threadId": self.thread, "message": step["warn"]}})
        elif "retrying" in step:
            self.notify("error", error={"message": step["retrying"]}, willRetry=True)
        elif "fail" in step:
            error = {"message": step["fail"], "codexErrorInfo": step.get("info", "other")}
            self.notify("error", error=error, willRetry=False)
            self.notify("turn/completed", turn={"id": "turn", "items": [], "status": "failed", "error": error})
        else:
            counts = {**USAGE, **step["done"]}
            names = {"input": "inputTokens", "cached": "cachedInputTokens", "output": "outputTokens"}
            total = {name: counts[short] for short, name in names.items()}
            total["reasoningOutputTokens"] = counts["reasoning"]
            self.notify("thread/tokenUsage/updated", tokenUsage={"total": total, "last": total})
            self.notify("turn/completed", turn={"id": "turn", "items": [], "status": "completed", "error": None})
