"""Where an answer ends by the caller's wish: ``stop``, ``max_tokens``, ``n``; and what streams end with."""

from typing import Any

from codexproxy.apis.validation_errors import bad_value, wrong_type

# The platform's own bound for ``n``.
MOST_ANSWERS = 128

# Far beyond any real one, and the platform's own bound is 4; what may begin one is compared with every delta.
LONGEST_STOP = 1000
MOST_STOPS = 16

_CAPS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


def read_stop(stop: Any) -> tuple[str, ...]:
    """The texts at which the answer ends; empty ones are none.

    Raises:
        InvalidRequest: It is neither a string nor a list of strings, or there are too many or too long ones.
    """
    if stop is None:
        return ()
    if isinstance(stop, str):
        stop = [stop]
    if not isinstance(stop, list):
        raise wrong_type("stop", "a string or an array of strings", stop)
    for position, entry in enumerate(stop):
        if not isinstance(entry, str):
            raise wrong_type(f"stop[{position}]", "a string", entry)
        if len(entry) > LONGEST_STOP:
            raise bad_value(f"stop[{position}]", f"A stop text may have at most {LONGEST_STOP} characters.")
    texts = tuple(dict.fromkeys(entry for entry in stop if entry))
    if len(texts) > MOST_STOPS:
        raise bad_value("stop", f"There may be at most {MOST_STOPS} stop texts; the request has {len(texts)}.")
    return texts


def read_cap(fields: dict[str, Any]) -> int | None:
    """The most tokens the answer may have; the smallest of the fields that say so.

    Raises:
        InvalidRequest: One of them is below 1.
    """
    caps = {name: fields[name] for name in _CAPS if name in fields}
    for name, cap in caps.items():
        if cap < 1:
            raise bad_value(name, f"Invalid value for '{name}': {cap}. It must be at least 1.")
    return min(caps.values()) if caps else None


def read_count(fields: dict[str, Any]) -> int:
    """How many answers are wanted.

    Raises:
        InvalidRequest: It is below 1 or beyond the platform's own bound.
    """
    count: int = fields.get("n", 1)
    if not 1 <= count <= MOST_ANSWERS:
        raise bad_value("n", f"Invalid value for 'n': {count}. It must be between 1 and {MOST_ANSWERS}.")
    return count


def wants_usage(fields: dict[str, Any]) -> bool:
    """Whether the stream ends with a usage chunk."""
    options = fields.get("stream_options") or {}
    return bool(fields.get("stream")) and options.get("include_usage") is True
