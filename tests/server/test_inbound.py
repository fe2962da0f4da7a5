"""Quick headers answer like Werkzeug's."""

import pytest
from werkzeug.datastructures import EnvironHeaders

from codexproxy.gunicorn.fast_headers import QuickHeaders

ENVIRON = {"HTTP_X_REQUEST_ID": "7", "CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "12", "HTTP_EMPTY": ""}


@pytest.mark.parametrize(
    "name", ["x-request-id", "X-Request-ID", "Content-Type", "content-length", "empty", "absent", "HTTP_X_REQUEST_ID"]
)
def test_a_header_is_found_in_any_case_or_not_at_all(name: str) -> None:
    assert QuickHeaders(ENVIRON).get(name) == EnvironHeaders(ENVIRON).get(name)
    assert (name in QuickHeaders(ENVIRON)) == (name in EnvironHeaders(ENVIRON))


def test_defaults_and_types_work_as_ever() -> None:
    headers = QuickHeaders(ENVIRON)
    assert headers.get("absent", "else") == "else"
    assert headers.get("content-length", type=int) == 12
    assert headers.get("content-type", 5, type=int) == 5
