"""The command line of ``codex exec`` (docs/reference/codex-cli.md#running-it). The prompt never stands on it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from codexproxy.upstream.codex_cli.process.environment import RUN
from codexproxy.upstream.codex_cli.run_spec import Job
from codexproxy.upstream.codex_cli.security.permission_profile import Places, confined
from codexproxy.upstream.codex_cli.security.sandbox import DANGER


def exec_argv(
    bin: str,
    job: Job,
    places: Places,
    pins: Mapping[str, Any],
    restraints: Mapping[str, Any],
    schema: Path | None = None,
    images: Iterable[Path] = (),
) -> list[str]:
    """The arguments of one run; the prompt is read from standard input.

    Args:
        bin: The executable.
        job: What to run.
        places: Where, and what its commands may touch.
        pins: Configuration that no file may override.
        restraints: More of it for callers who are not the owner.
        schema: File with the job's schema.
        images: Files with the prompt's images.
    """
    argv = [bin, "exec", "--json", "--ephemeral", "--skip-git-repo-check", "--color=never"]
    argv += [f"--model={job.model}", f"--cd={places.workdir}"]
    # Next to a profile this option would win, and with it what it leaves open.
    argv += [f"--sandbox={DANGER}"] if job.sandbox.mode == DANGER else []
    argv += overrides({**run_settings(job, places, restraints), **pins})
    argv += [f"--output-schema={schema}"] if schema else []
    argv += [f"--image={path}" for path in images]
    # ``--image`` takes all that follows, so the end of the options is said (docs/reference/codex-cli.md#running-it).
    return [*argv, "--", "-"]


def run_settings(job: Job, places: Places, restraints: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of one run, whichever way it is handed over."""
    own = {
        "shell_environment_policy.set.TMPDIR": str(places.temporary),
        f"shell_environment_policy.set.{RUN}": places.run,
        **({} if job.project_docs else _without_orders(places)),
    }
    return {**job.settings, **own, **confined(job.sandbox, places), **(restraints if job.restrained else {})}


def _without_orders(places: Places) -> dict[str, Any]:
    # A run may leave files for the next one that works there: AGENTS.md, skills, hooks, rules, tool servers.
    untrusted = {str(places.workdir): {"trust_level": "untrusted"}}
    return {"project_doc_max_bytes": 0, "skills.include_instructions": False, "projects": untrusted}


def overrides(settings: Mapping[str, Any]) -> list[str]:
    """``-c key=value`` for each setting; values are TOML."""
    return [part for key, value in settings.items() for part in ("-c", f"{key}={toml_value(value)}")]


def toml_value(value: Any) -> str:
    """A string, number, boolean, or a list or table of these as TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_value(key)} = {toml_value(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(entry) for entry in value) + "]"
    # JSON's strings, numbers and booleans are TOML's too, but for pairs of surrogates
    # and for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
