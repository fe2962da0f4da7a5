"""The catalogue of models: what each can do, and what a name asks for.

Editors whose own models carry the same names write them backwards (docs/reference/clients.md#cursors-model-names).
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any


def reversed_name(name: str) -> str:
    """A name with its code points in reverse order: ``gpt-5.2-codex`` <-> ``xedoc-2.5-tpg``."""
    return name[::-1]


def plain_spellings(name: str, suffixes: Collection[str]) -> tuple[str, ...]:
    """How a name may read in plain order, the likeliest first.

    A suffix may have been reversed with the name (``hgih-xedoc-2.5-tpg``) or
    appended to the reversed name (``xedoc-2.5-tpg-high``).

    Args:
        name: A name as a caller wrote it.
        suffixes: Words that may follow a model's name.
    """
    base, words = name, ""
    spellings = [name, reversed_name(name)]
    while True:
        base, dash, last = base.rpartition("-")
        if not dash or last not in suffixes:
            return tuple(dict.fromkeys(spellings))
        words = f"-{last}{words}"
        spellings.append(reversed_name(base) + words)


# From cheapest to dearest
# (docs/reference/requests.md#options-of-the-cli-and-what-they-become); the allowed set is per model.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")

# Last word of a name -> the service tier it stands for (``gpt-5.4-high-fast``).
TIERS = {"fast": "priority"}
_SUFFIXES = frozenset({*EFFORTS, *TIERS})

# A name that begins so asks for the local Codex CLI; the rest is the model.
LOCAL_PREFIX = "cli/"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of the catalogue.

    Attributes:
        slug: The name upstream knows it by.
        efforts: Reasoning efforts it takes; empty when unknown.
        default_effort: The effort it uses by itself.
        verbosity: Whether it takes ``text.verbosity``.
        lite: Whether it wants the Responses-Lite shape (docs/reference/requests.md#the-responses-lite-shape).
        tiers: Service tiers it offers besides the default one.
        context_window: Tokens that fit, where known.
        listed: Whether it is shown to callers.
        info: Upstream's own ModelInfo, ``{}`` for rows of the fallback table.
    """

    slug: str
    efforts: tuple[str, ...] = ()
    default_effort: str | None = None
    verbosity: bool = True
    lite: bool = False
    tiers: tuple[str, ...] = ("priority",)
    context_window: int | None = None
    listed: bool = True
    info: Mapping[str, Any] = field(default_factory=dict)

    def nearest_effort(self, wanted: str) -> str:
        """The effort closest to the wanted one; of two equally close ones the higher."""
        if wanted in self.efforts:
            return wanted
        if wanted not in EFFORTS:
            return self.default_effort or "medium"
        if not self.efforts:
            return wanted
        rank = EFFORTS.index(wanted)
        return min(self.efforts, key=lambda effort: (abs(_rank(effort) - rank), -_rank(effort)))


def _rank(effort: str) -> int:
    return EFFORTS.index(effort) if effort in EFFORTS else len(EFFORTS)


def _row(slug: str, efforts: str, default: str) -> ModelSpec:
    return ModelSpec(slug, tuple(efforts.split()), default, context_window=272_000)


# What is offered while upstream's own catalogue cannot be had.
FALLBACK: tuple[ModelSpec, ...] = (
    _row("gpt-5.2-codex", "low medium high xhigh", "high"),
    _row("gpt-5.2", "none low medium high xhigh", "none"),
    _row("gpt-5.1-codex-max", "low medium high xhigh", "high"),
    _row("gpt-5.1-codex", "low medium high", "medium"),
    _row("gpt-5.1-codex-mini", "medium high", "medium"),
    _row("gpt-5.1", "none low medium high", "none"),
)


def parse_model(info: Mapping[str, Any]) -> ModelSpec:
    """A row of upstream's catalogue; everything but ``slug`` may be absent (docs/reference/models.md#the-catalogue)."""
    levels = [level.get("effort") for level in _dicts(info.get("supported_reasoning_levels"))]
    tiers = [tier.get("id") for tier in _dicts(info.get("service_tiers"))]
    window = info.get("context_window")
    default = info.get("default_reasoning_level")
    return ModelSpec(
        slug=str(info["slug"]),
        efforts=tuple(level for level in levels if isinstance(level, str)),
        default_effort=default if isinstance(default, str) else None,
        verbosity=info.get("support_verbosity") is not False,
        lite=info.get("use_responses_lite") is True,
        tiers=tuple(tier for tier in tiers if isinstance(tier, str)) or ("priority",),
        context_window=window if isinstance(window, int) else None,
        listed=info.get("visibility", "list") == "list",
        info=dict(info),
    )


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


@dataclass(frozen=True, slots=True)
class ModelSelection:
    """What a model's name asks for.

    Attributes:
        slug: The name to send upstream.
        spec: The model's row, None for a name the catalogue does not know.
        effort: Effort named by a suffix.
        tier: Service tier named by a suffix.
    """

    slug: str
    spec: ModelSpec | None = None
    effort: str | None = None
    tier: str | None = None


# ``openai/gpt-5.2``: how clients that know many makers name a model.
_MAKER = "openai/"


# What stands for any characters in a pattern of names.
_ANY = "*"


def _spellings(name: str) -> Iterable[str]:
    return dict.fromkeys((name, name.strip().lower().removeprefix(_MAKER)))


def _escaped(pattern: str) -> str:
    # Only the star is special here.
    return re.sub(r"[\[?]", r"[\g<0>]", pattern)


class ModelCatalog:
    """The models that can be asked for.

    Args:
        live: Upstream's own catalogue, best model first; None while it is unknown.
        aliases: Further names, or patterns of names with ``*`` in them, -> names.

    Attributes:
        aliases: The further names, without the patterns.
    """

    def __init__(
        self, live: Iterable[Mapping[str, Any]] | None = None, aliases: Mapping[str, str] | None = None
    ) -> None:
        self.is_live = live is not None
        rows = sorted(live, key=_priority) if live is not None else None
        self._listed = tuple(map(parse_model, rows)) if rows is not None else FALLBACK
        self._offered = frozenset(spec.slug for spec in self._listed)
        # Names of the fallback table keep their meaning beside a live catalogue.
        self._by_slug = {spec.slug: spec for spec in (*FALLBACK, *self._listed)}
        given = dict(aliases or {})
        self.aliases = {name: meant for name, meant in given.items() if _ANY not in name}
        # The longest first, since it says the most.
        self._patterns = sorted(given.items() - self.aliases.items(), key=lambda row: (-len(row[0]), row[0]))

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The models shown to callers, best first."""
        return tuple(spec for spec in self._listed if spec.listed)

    @property
    def infos(self) -> list[dict[str, Any]]:
        """Upstream's own rows, hidden models included, best first."""
        return [dict(spec.info) for spec in self._listed if spec.info]

    def limited_to(self, may_use: Callable[[str], bool]) -> "ModelCatalog":
        """The same catalogue for a caller who may not use all of it: names keep their meaning, fewer are listed."""
        limited = copy(self)
        limited._listed = tuple(spec for spec in self._listed if may_use(spec.slug))
        return limited

    def offers(self, slug: str) -> bool:
        """Whether the current list, hidden models included, holds this name; a key may have another name for it."""
        return slug in self._offered

    def find(self, name: str) -> ModelSelection | None:
        """What a name asks for, None when the catalogue does not know it.

        Names of the catalogue come before suffixes, so that a model whose own
        name ends like an effort is found. Capitals, blanks around a name and the
        maker's name before it, as some clients write it, do not make it another.
        Patterns are for names that mean nothing else.
        """
        wanted = self._named(name)
        pattern = self._pattern_for(name) if wanted is None else None
        return self._named(pattern[1]) if pattern is not None else wanted

    def meaning(self, name: str) -> str:
        """The name that an alias or a pattern stands for; any other name is itself."""
        if name in self.aliases:
            return self.aliases[name]
        if not self._patterns or self._named(name.removeprefix(LOCAL_PREFIX)) is not None:
            return name
        pattern = self._pattern_for(name)
        return pattern[1] if pattern is not None else name

    def family(self, name: str) -> str:
        """All names that mean something by the same rule as this one, as a pattern; the name itself where it is alone.

        Whoever may use names of a pattern may use this one only if the pattern holds all of them:
        ``*mini*`` is not meant for ``gpt-5.2-minimal``, nor for every name that an alias ``*`` gives a meaning.
        """
        local, plain = (LOCAL_PREFIX, name.removeprefix(LOCAL_PREFIX)) if name.startswith(LOCAL_PREFIX) else ("", name)
        wanted = self._named(plain)
        if wanted is None:
            pattern = self._pattern_for(name)
            return pattern[0] if pattern is not None else name
        if not (wanted.effort or wanted.tier) or any(spelling in self.aliases for spelling in _spellings(plain)):
            return name
        base, dash, last = plain.rpartition("-")
        while base.rpartition("-")[2] in _SUFFIXES:
            base = base.rpartition("-")[0]
        return local + (f"{base}-{_ANY}" if dash and last in _SUFFIXES else wanted.slug)

    def _pattern_for(self, name: str) -> tuple[str, str] | None:
        is_local, spellings = name.startswith(LOCAL_PREFIX), _spellings(name)
        for pattern, meant in self._patterns:
            fits = any(fnmatchcase(spelling, _escaped(pattern)) for spelling in spellings)
            # What is asked for locally stays there.
            if fits and pattern.startswith(LOCAL_PREFIX) == is_local:
                return pattern, meant
        return None

    def _named(self, name: str) -> ModelSelection | None:
        if (spec := self._by_slug.get(self.aliases.get(name, name))) is not None:
            return ModelSelection(spec.slug, spec)
        for spelling in _spellings(name):
            known = self.aliases.get(spelling, spelling)
            for readable in plain_spellings(known, _SUFFIXES):
                wanted = self._read(readable)
                if wanted is not None:
                    return wanted
        return None

    def _read(self, name: str) -> ModelSelection | None:
        spec = self._by_slug.get(name)
        if spec is not None:
            return ModelSelection(spec.slug, spec)
        base, dash, last = name.rpartition("-")
        if not dash or (last not in EFFORTS and last not in TIERS):
            return None
        wanted = self._read(base)
        if wanted is None:
            return None
        if last in TIERS:
            return ModelSelection(wanted.slug, wanted.spec, wanted.effort, wanted.tier or TIERS[last])
        return ModelSelection(wanted.slug, wanted.spec, wanted.effort or last, wanted.tier)


def _priority(info: Mapping[str, Any]) -> int:
    priority = info.get("priority")
    return priority if isinstance(priority, int) else 1_000
