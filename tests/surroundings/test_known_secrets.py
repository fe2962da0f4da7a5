"""What the service knows to be secret at its start appears in no log line."""

from pathlib import Path

import pytest

from codexproxy.app.metrics_setup import secrets_of
from codexproxy.observability.redaction import Redactor
from codexproxy.settings import load_settings

SECRET = "hunter2hunter2"


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "PROXY_API_KEY"])
def test_a_password_in_the_environment_is_hidden_wherever_it_is_quoted(name: str, tmp_path: Path) -> None:
    value = SECRET if name == "PROXY_API_KEY" else f"http://me:{SECRET}@proxy.example.com:3128"
    environ = {"HOME": str(tmp_path), name: value}
    redact = Redactor(secrets_of(load_settings(environ), environ))
    assert SECRET not in redact(f"the other side said: {SECRET} is wrong")


@pytest.mark.parametrize("value", ["", "http://[", "not a URL", "proxy:3128"])
def test_a_proxy_that_is_no_url_hides_nothing_and_stops_nothing(value: str, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "https_proxy": value}
    assert secrets_of(load_settings(environ), environ) == []
