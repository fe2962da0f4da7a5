"""``codexproxy demo``: the whole line from client to upstream, without an account.

A simulator plays the upstream. The demo lives in a temporary folder and takes
nothing from the user's configuration: the environment of its processes is
made from the few names of `BASICS`.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from codexproxy.cli.support.demo_steps import Stage, StepFailed, smoke
from codexproxy.cli.support.ports import free_port, is_taken
from codexproxy.cli.support.subprocesses import Children, ended_by_signals
from codexproxy.settings import parsing

# What a program needs to run at all; everything else stays outside.
BASICS = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TMPDIR", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")

DEFAULT_PORT = 3000

_BUSY = """\
Port {port} is taken by another program, perhaps by a demo that still runs.
Stop it, or choose another port: PORT=3001 make demo"""

_READY = """
It works. Base URL: {base}/v1   (any key)

With curl:
  curl -N {base}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'

With the OpenAI SDK (pip install openai):
  from openai import OpenAI
  client = OpenAI(base_url="{base}/v1", api_key="any")
  print(client.responses.create(model="{model}", input="Hello").output_text)
"""


@click.command()
def demo() -> None:
    """Try it without an account: a simulated upstream, one streamed answer, then serve.

    PORT chooses the port (default 3000); DEMO_ONCE=1 stops after the answer.
    """
    port, once = _options(os.environ)
    if is_taken(port):
        click.echo(_BUSY.format(port=port), err=True)
        sys.exit(1)
    try:
        with ended_by_signals(), tempfile.TemporaryDirectory(prefix="codexproxy-demo-") as folder:
            _play(Path(folder), port, once)
    except StepFailed as failure:
        click.echo(f"The demo failed: {failure}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("\nThe demo has stopped and left nothing behind.")


def _options(environ: Mapping[str, str]) -> tuple[int, bool]:
    try:
        port = parsing.integer(0, 65535)(environ.get("PORT") or DEFAULT_PORT)
        once = parsing.flag(environ.get("DEMO_ONCE") or "0")
    except ValueError as error:
        raise click.UsageError(f"PORT or DEMO_ONCE: {error}") from error
    return port or free_port(), once


def _play(folder: Path, port: int, once: bool) -> None:
    environ = {name: os.environ[name] for name in BASICS if name in os.environ}
    with Children() as children:
        stage = Stage(folder, port, {**environ, "HOME": str(folder)}, children)
        model = smoke(stage)
        click.echo(_READY.format(base=stage.base_url, model=model))
        if once:
            return
        click.echo("Serving until you press Ctrl-C.")
        status = stage.service.wait()
        raise StepFailed(f"the server stopped unexpectedly (status {status}).\n{stage.tail('service')}")
