"""A person with a browser, as far as signing in needs one: follows redirects and reads pages."""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import requests

from tests.patience import patient


@dataclass(frozen=True)
class Page:
    """Where a journey ended."""

    url: str
    status: int
    text: str
    headers: dict[str, str]


def authorized(url: str) -> str:
    """Where the login service sends the browser after its page; the rule ``auto_approve`` must be on."""
    answer = _session().get(url, allow_redirects=False, timeout=patient(20))
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def visit(url: str) -> Page:
    """Opens an address and follows its redirects to a page."""
    answer = _session().get(url, timeout=patient(60))
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Page(answer.url, answer.status_code, answer.text, headers)


def query_of(url: str) -> dict[str, str]:
    """The parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session
