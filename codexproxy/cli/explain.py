"""``codexproxy explain``: what would be sent upstream for a request, and why; nothing is sent."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import click

from codexproxy.cli.support.command import settings_or_exit
from codexproxy.settings import Settings

Report = Mapping[str, Any]


def lines(path: str, told: Report) -> Iterator[str]:
    """The answer to a dry run, one line after the other.

    Args:
        path: The request's route.
        told: The answer.
    """
    sent = told.get("upstream") or []
    body = _body(sent[0]) if sent else {}
    yield from _facts(path, told, body)
    for number, turn in enumerate(sent, 1):
        yield ""
        yield _heading(turn, number, len(sent))
        yield from (f"  {name}: {value}" for name, value in (turn.get("headers") or {}).items())
        yield from _indented({key: value for key, value in turn.items() if key not in ("backend", "url", "headers")})


def _facts(path: str, told: Report, body: Report) -> Iterator[str]:
    asked, used = told.get("model"), body.get("model")
    reasoning = body.get("reasoning") or {}
    yield f"Route     {path}"
    yield f"Model     {asked} -> {used}" if used and used != asked else f"Model     {asked}"
    yield f"Effort    {reasoning.get('effort') or 'the backend decides'}"
    yield from _listed("Ignored", told.get("ignored"))
    yield from _listed("Adapted", told.get("adapted"))
    emulated = told.get("emulated") or {}
    yield from _listed("Emulated", [f"{name} {_short(value)}" for name, value in emulated.items()])


def _listed(name: str, entries: Any) -> Iterator[str]:
    for entry in entries or ["nothing"]:
        yield f"{name:<9} {entry}"
        name = ""


def _heading(turn: Report, number: int, count: int) -> str:
    who = turn.get("backend") or "no provider of this key's group"
    where = f" at {turn['url']}" if turn.get("url") else ""
    which = f" (turn {number} of {count})" if count > 1 else ""
    return f"To {who}{where}{which}:"


def _body(turn: Report) -> Report:
    body = turn.get("body")
    return body if isinstance(body, dict) else {}


def _indented(shown: Report) -> Iterator[str]:
    # A backend that sends a body has nothing else to show.
    value = shown["body"] if shown.keys() == {"body"} else shown
    yield from ("  " + line for line in json.dumps(value, indent=2, ensure_ascii=False).split("\n"))


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


ROUTES = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "completions": "/v1/completions"}

# A body with one of these fields is of that kind; the first one found counts.
_SIGNS = {"messages": "chat", "input": "responses", "previous_response_id": "responses", "prompt": "completions"}

# Seconds to connect and seconds of silence.
# Seconds for the whole question, and bytes of the answer, which holds the body that was asked about.
_SECONDS, _SIZE = 30.0, 256 * 2**20

Json = dict[str, Any]
Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to explain.

    Attributes:
        path: Its route.
        content: Its body.
        headers: The client's own, and the one that asks for a dry run.
    """

    path: str
    content: bytes
    headers: Headers


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--route", type=click.Choice(list(ROUTES)), help="The request's kind, where its fields do not tell.")
@click.option("-H", "--header", "given", multiple=True, metavar="NAME:VALUE", help="A header that the client sends.")
@click.option("--url", metavar="URL", help="Ask a running server instead, with its catalogue and its settings.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(file: BinaryIO, route: str | None, given: tuple[str, ...], url: str | None, as_json: bool) -> None:
    """Show what would be sent upstream for the request body in FILE (- for standard input).

    Nothing is sent, and no login is needed.
    """
    content = file.read()
    path = ROUTES[route or kind_of(content)]
    request = Request(path, content, {"x-codexproxy-dry-run": "1", **_headers(given)})
    settings = settings_or_exit()
    status, told = ask_server(url, settings, request) if url else ask_here(settings, request)
    if as_json:
        click.echo(json.dumps({"route": path, **told}, indent=2, ensure_ascii=False))
    elif status == 200:
        for line in lines(path, told):
            click.echo(line)
    if status != 200:
        click.echo(_refusal(status, told), err=True)
        sys.exit(1)


def kind_of(content: bytes) -> str:
    """The kind of a request, by its fields; a key of ``ROUTES``.

    Raises:
        click.UsageError: Its fields do not tell.
    """
    try:
        body = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"FILE is not JSON: {error}. Please give the request's body as it is sent.") from None
    found = next((kind for name, kind in _SIGNS.items() if isinstance(body, dict) and name in body), None)
    if found is None:
        raise click.UsageError("FILE has neither messages nor input nor prompt. Please name its kind with --route.")
    return found


def ask_here(settings: Settings, request: Request) -> tuple[int, Json]:
    """Status and answer of the service itself, made for this one request.

    It never uses the network: models are planned with the built-in table.
    """
    # Imported when needed: these bring the whole service, which help texts do not need.
    from codexproxy.access.keys import KeyRing
    from codexproxy.app import assemble, make_services
    from codexproxy.planning.model_catalog import ModelCatalog

    table = ModelCatalog(None, settings.model_aliases)
    keys = KeyRing(api_key=None, users=(), allow_unauthenticated=True)
    services = make_services(settings, os.environ)
    services = replace(services, planner=replace(services.planner, catalogue=_BuiltIn(table)), keys=keys)
    client = assemble(services).test_client()
    answer = client.post(request.path, data=request.content, headers=dict(request.headers))
    return answer.status_code, answer.get_json()


@dataclass(frozen=True, slots=True)
class _BuiltIn:
    table: Any

    def current(self) -> Any:
        return self.table


def ask_server(url: str, settings: Settings, request: Request) -> tuple[int, Json]:
    """Status and answer of a running server.

    Raises:
        click.ClickException: It cannot be reached, or does not answer like codexproxy.
    """
    import requests  # takes a while to import, and help texts do not need it

    from codexproxy.outbound import Limits, fetch, new_session

    key = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
    address = url.rstrip("/").removesuffix("/v1") + request.path
    limits = Limits(_SECONDS, _SIZE, connect=3.0)
    with new_session() as session:
        # ~/.netrc and the proxies of the network are no business of our own server.
        session.trust_env = False
        try:
            asked = {"data": request.content, "headers": {**key, **request.headers}}
            answer = fetch(session, "POST", address, limits, allow_redirects=False, **asked)
            told = json.loads(answer.content)
        except requests.ConnectionError:
            raise click.ClickException(f"No server answers at {url}. Leave --url out to do without one.") from None
        except (requests.RequestException, ValueError):
            raise click.ClickException(f"{url} does not answer like codexproxy. Is it ours?") from None
    if isinstance(told, dict) and (answer.status_code != 200 or told.get("dry_run") is True):
        return answer.status_code, told
    raise click.ClickException(f"{url} does not answer like codexproxy. Is it ours?")


def _headers(given: tuple[str, ...]) -> dict[str, str]:
    return dict(_split(header) for header in given)


def _split(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not (name.strip() and colon) or not header.isprintable():
        raise click.UsageError(f"A header looks like NAME:VALUE, not like {header!r}.")
    return name.strip(), value.strip()


def _refusal(status: int, told: Json) -> str:
    error = told.get("error")
    error = error if isinstance(error, dict) else {}
    place = f" ({error['param']})" if error.get("param") else ""
    return f"This request is refused with {status} {error.get('code') or ''}{place}: {error.get('message')}"
