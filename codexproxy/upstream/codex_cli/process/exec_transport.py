"""Runs one ``codex exec`` per turn, and builds its command line; the prompt never stands on it."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from codexproxy.protocol.stream import Deadlines
from codexproxy.upstream.codex_cli.decode.event_builder import Composer
from codexproxy.upstream.codex_cli.decode.exec_events import ExecDecoder
from codexproxy.upstream.codex_cli.decode.progress import Reporter
from codexproxy.upstream.codex_cli.process.launch import Launcher, Surroundings
from codexproxy.upstream.codex_cli.process.process import CliProcess
from codexproxy.upstream.codex_cli.process.run_folder import RUN
from codexproxy.upstream.codex_cli.run_spec import Job
from codexproxy.upstream.codex_cli.security.sandbox import DANGER, Places, confined
from codexproxy.upstream.codex_cli.source import CliSource


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


# Seconds that a CLI which has reported its end has to exit.
FAREWELL = 1.0


class ExecTransport:
    """Runs each turn in a process of its own; text comes in whole messages.

    Args:
        launcher: Starts the processes.
        now: Epoch seconds.
    """

    def __init__(self, launcher: Launcher, now: Callable[[], float] = time.time) -> None:
        self._launcher = launcher
        self._now = now

    def open(self, job: Job, body: dict[str, Any], around: Surroundings, deadlines: Deadlines) -> CliSource[bytes]:
        """Starts a run.

        Raises:
            ProxyError: It cannot be started.
        """
        with ExitStack() as owned:
            return self._started(job, body, around, deadlines, owned)

    def _started(
        self, job: Job, body: dict[str, Any], around: Surroundings, deadlines: Deadlines, owned: ExitStack
    ) -> CliSource[bytes]:
        launcher = self._launcher
        owned.callback(launcher.permits.acquire().release)
        folder = launcher.folder(owned)
        places = launcher.places(job, folder, folder.run)
        schema = folder.write_schema(job.schema) if job.schema is not None else None
        images = folder.write_images(job.prompt)
        argv = exec_argv(launcher.options.bin, job, places, around.pins, around.restraints, schema, images)
        process = launcher.start(argv, around, folder, places.workdir, owned)
        process.send(job.prompt.text.encode())
        process.end_input()
        redact = launcher.redactor(around)
        composer = Composer(body, int(self._now()))
        reporter = Reporter(composer, json_answer=job.json_answer, include_activity=job.include_activity)
        decoder = ExecDecoder(composer, reporter, redact, self._now)
        owned.callback(_let_end, process, decoder)
        # From here on the source frees it all.
        return CliSource(process, decoder, deadlines, owned.pop_all(), launcher.clock)


def _let_end(process: CliProcess, decoder: ExecDecoder) -> None:
    if decoder.progress.finished:
        process.wait(FAREWELL)
