"""What no schema can say of a chat stream: what comes first, what comes once, what comes last."""

import json
from collections import Counter
from typing import Any

from tests.clients.relay import Exchange

DONE = "[DONE]"


def flaws(exchange: Exchange) -> list[str]:
    """Everything out of order in a chat stream; one that its reader left may lack its end."""
    blocks = exchange.body.decode("utf-8", "ignore").split("\n\n")
    payloads = [line[6:] for block in blocks[:-1] for line in block.split("\n") if line.startswith("data: ")]
    found = [] if DONE not in payloads[:-1] else [f"something follows {DONE}"]
    chunks = [json.loads(payload) for payload in payloads if payload != DONE]
    failed = any("error" in chunk for chunk in chunks)
    chunks = [chunk for chunk in chunks if "error" not in chunk]
    found += _once("chunks", chunks, ("id", "created", "model"))
    if payloads and payloads[-1] == DONE and not failed:
        found += _usage(chunks)
    for index in {choice["index"] for chunk in chunks for choice in chunk["choices"]}:
        choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
        ended = payloads[-1] == DONE and not failed
        found += [f"choice {index}: {flaw}" for flaw in _choice(choices, ended)]
    return found


def _once(what: str, chunks: list[dict[str, Any]], names: tuple[str, ...]) -> list[str]:
    return [f"{what} differ in {name}" for name in names if len({chunk[name] for chunk in chunks}) > 1]


def _usage(chunks: list[dict[str, Any]]) -> list[str]:
    last = [chunk for chunk in chunks if not chunk["choices"]]
    if last and (last != chunks[-1:] or not last[0].get("usage")):
        return ["a chunk without choices that is not the last one, or has no usage"]
    wanted = bool(last)
    return [] if all(("usage" in chunk) == wanted for chunk in chunks) else ["usage in some chunks only"]


def _choice(choices: list[dict[str, Any]], ended: bool) -> list[str]:
    deltas = [choice["delta"] for choice in choices]
    roles = [delta["role"] for delta in deltas if "role" in delta]
    found = [] if roles == ["assistant"] and "role" in deltas[0] else [f"roles {roles}"]
    if "content" not in deltas[0]:
        found.append("the first delta has no content")
    ends = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    if ended and (len(ends) != 1 or not choices[-1]["finish_reason"]):
        found.append(f"finish reasons {ends}")
    return found + _calls(deltas)


def _calls(deltas: list[dict[str, Any]]) -> list[str]:
    pieces = [piece for delta in deltas for piece in delta.get("tool_calls") or []]
    found, known = [], set()
    headers: Counter[tuple[int, str]] = Counter()
    for piece in pieces:
        holder = piece.get("function") or piece.get("custom") or {}
        if piece["index"] not in known and not (piece.get("id") and holder.get("name")):
            found.append(f"call {piece['index']} begins without its id or name")
        known.add(piece["index"])
        headers.update((piece["index"], name) for name in ("id", "type") if name in piece)
        headers.update([(piece["index"], "name")] if "name" in holder else [])
    found += [f"call {index}: {name} comes {count} times" for (index, name), count in headers.items() if count > 1]
    if known != set(range(len(known))):
        found.append(f"calls are numbered {sorted(known)}")
    return found
