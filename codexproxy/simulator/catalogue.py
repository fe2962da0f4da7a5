"""The models this upstream offers (docs/reference/models.md#the-catalogue)."""

import hashlib
from typing import Any

import orjson

Model = dict[str, Any]

EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"]

_EFFORT_WORDS = {
    "none": "No thinking before the answer",
    "low": "Short thinking, quick answers",
    "medium": "Balanced thinking for everyday work",
    "high": "Long thinking for hard problems",
    "xhigh": "Very long thinking",
    "max": "As much thinking as the model can use",
    "ultra": "Several thinkers on one problem",
}

# slug, visibility, priority, context, efforts (first..last), default effort, lite, verbosity, oldest client version
_ROWS: list[tuple[str, str, int, int, str, str, bool, bool, str | None]] = [
    ("gpt-6.1-sol", "list", 1, 272000, "low..ultra", "low", True, True, "0.160.0"),
    ("gpt-6-astra", "list", 2, 272000, "low..ultra", "low", True, True, "0.155.0"),
    ("gpt-6-sol", "list", 3, 272000, "low..ultra", "medium", True, True, "0.155.0"),
    ("gpt-6-luna", "list", 4, 272000, "low..max", "medium", True, True, "0.155.0"),
    ("gpt-5.6-sol", "list", 5, 272000, "low..ultra", "low", True, True, "0.140.0"),
    ("gpt-6.1-terra", "list", 7, 500000, "low..ultra", "low", True, True, "0.160.0"),
    ("gpt-5.6-terra", "list", 8, 272000, "low..ultra", "medium", True, True, "0.140.0"),
    ("gpt-5.6-luna", "list", 9, 272000, "low..max", "medium", True, True, "0.140.0"),
    ("gpt-daybreak-blue-latest", "hide", 11, 272000, "low..max", "medium", True, True, None),
    ("gpt-daybreak-red-latest", "hide", 12, 272000, "low..max", "medium", True, True, None),
    ("gpt-5.5", "list", 13, 272000, "low..xhigh", "medium", False, True, None),
    ("gpt-5.2-codex", "list", 20, 272000, "low..xhigh", "high", False, False, None),
    ("gpt-5.2", "list", 21, 272000, "none,low..xhigh", "none", False, True, None),
    ("gpt-5.1-codex-max", "list", 22, 272000, "low..xhigh", "high", False, False, None),
    ("gpt-5.1-codex", "list", 23, 272000, "low..high", "medium", False, False, None),
    ("gpt-5.1-codex-mini", "list", 24, 272000, "medium..high", "medium", False, False, None),
    ("gpt-5.1", "list", 25, 272000, "none,low..high", "none", False, True, None),
    ("codex-auto-review", "hide", 43, 272000, "low..xhigh", "low", True, True, None),
]


def default_models() -> list[Model]:
    """The catalogue after a reset, as full ModelInfo objects."""
    return [_model_info(*row) for row in _ROWS]


def _efforts(text: str) -> list[str]:
    names: list[str] = []
    for part in text.split(","):
        first, _, last = part.partition("..")
        usable = [name for name in EFFORTS if name != "minimal"]
        names += usable[usable.index(first) : usable.index(last or first) + 1]
    return names


def _model_info(
    slug: str,
    visibility: str,
    priority: int,
    context: int,
    efforts: str,
    default_effort: str,
    lite: bool,
    verbosity: bool,
    oldest_client: str | None,
) -> Model:
    levels = [{"effort": name, "description": _EFFORT_WORDS[name]} for name in _efforts(efforts)]
    tiers = [{"id": "priority", "name": "Fast", "description": "Quicker answers, used up sooner"}]
    return {
        "slug": slug,
        "display_name": slug,
        "description": f"Simulated {slug}.",
        "default_reasoning_level": default_effort,
        "supported_reasoning_levels": levels,
        "shell_type": "shell_command",
        "visibility": visibility,
        "minimal_client_version": oldest_client,
        "supported_in_api": True,
        "priority": priority,
        "additional_speed_tiers": ["fast"],
        "service_tiers": tiers,
        "default_service_tier": None,
        "availability_nux": None,
        "upgrade": None,
        "base_instructions": "You are a coding agent in a terminal.",
        "model_messages": None,
        "default_reasoning_summary": "none",
        "support_verbosity": verbosity,
        "default_verbosity": "low" if verbosity else None,
        "apply_patch_tool_type": "freeform",
        "web_search_tool_type": "text_and_image",
        "truncation_policy": {"mode": "tokens", "limit": 10000},
        "context_window": context,
        "max_context_window": context,
        "effective_context_window_percent": 95,
        "auto_compact_token_limit": None,
        "input_modalities": ["text", "image"],
        "supports_parallel_tool_calls": not lite,
        "supports_search_tool": True,
        "supports_image_detail_original": True,
        "use_responses_lite": lite,
        "supports_reasoning_effort_updates": lite,
        "experimental_supported_tools": [],
    }


class ModelCatalog:
    """The models on offer; replaceable while running."""

    def __init__(self) -> None:
        self.models: list[Model] = []
        self.etag = ""
        self.replace(default_models())

    def replace(self, models: list[Model]) -> None:
        """Offers these models instead; only ``slug`` is needed in each.

        ``etag`` changes with them; it is also sent with every turn as ``x-models-etag``.
        """
        self.models = models
        self.etag = f'W/"{hashlib.sha256(self.listing(None)).hexdigest()[:32]}"'

    def find(self, slug: object) -> Model | None:
        """The model of that name, hidden ones included."""
        return next((model for model in self.models if model["slug"] == slug), None)

    def listing(self, client_version: str | None) -> bytes:
        """The JSON answer for one client version; None lists everything."""
        models = [model for model in self.models if client_version is None or _shown(model, client_version)]
        return orjson.dumps({"models": models})


def _shown(model: Model, client_version: str) -> bool:
    oldest = model.get("minimal_client_version")
    return oldest is None or _numbers(client_version) >= _numbers(oldest)


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.split("-")[0].split(".")]
