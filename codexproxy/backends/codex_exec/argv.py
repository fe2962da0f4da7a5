"""The command line of ``codex exec`` (UPSTREAM.md §9). The prompt never stands on it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from codexproxy.backends.codex_exec.job import Job
from codexproxy.backends.codex_exec.sandbox import WORKSPACE_WRITE, Sandbox


def exec_argv(
    bin: str,
    job: Job,
    workdir: Path,
    temporary: Path,
    pins: Mapping[str, Any],
    schema: Path | None = None,
    images: Iterable[Path] = (),
) -> list[str]:
    """The arguments of one run; the prompt is read from standard input.

    Args:
        bin: The executable.
        job: What to run.
        workdir: Where.
        temporary: Folder for the temporary files of its commands.
        pins: Configuration that no file may override.
        schema: File with the job's schema.
        images: Files with the prompt's images.
    """
    settings = {**job.settings, **sandbox_settings(job.sandbox, temporary), **pins}
    argv = [bin, "exec", "--json", "--ephemeral", "--skip-git-repo-check", "--color=never"]
    argv += [f"--model={job.model}", f"--cd={workdir}", f"--sandbox={job.sandbox.mode}"]
    argv += overrides(settings)
    argv += [f"--output-schema={schema}"] if schema else []
    argv += [f"--image={path}" for path in images]
    # ``--image`` takes all that follows, so the end of the options is said (UPSTREAM.md §9).
    return [*argv, "--", "-"]


def sandbox_settings(sandbox: Sandbox, temporary: Path) -> dict[str, Any]:
    """The configuration that belongs to a sandbox besides its name."""
    own = {"shell_environment_policy.set.TMPDIR": str(temporary)}
    if sandbox.mode != WORKSPACE_WRITE:
        return own
    # By itself the CLI lets every run write into /tmp, where others keep files.
    return {
        **own,
        "sandbox_workspace_write.network_access": sandbox.network,
        "sandbox_workspace_write.exclude_slash_tmp": True,
        "sandbox_workspace_write.exclude_tmpdir_env_var": True,
        "sandbox_workspace_write.writable_roots": [str(temporary)],
    }


def overrides(settings: Mapping[str, Any]) -> list[str]:
    """``-c key=value`` for each setting; values are TOML."""
    return [part for key, value in settings.items() for part in ("-c", f"{key}={toml_value(value)}")]


def toml_value(value: Any) -> str:
    """A string, number, boolean or list of these as TOML."""
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(entry) for entry in value) + "]"
    # JSON's strings, numbers and booleans are TOML's too, but for pairs of surrogates
    # and for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
