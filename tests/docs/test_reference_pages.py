"""docs/api.md and docs/troubleshooting.md name every route, header and error code there is."""

import re
from pathlib import Path

from codexproxy.app import create_app
from codexproxy.errors import ProxyError
from codexproxy.protocol.error_mapping import CODES
from codexproxy.settings import load_settings
from tests.docs.pages import DOCS, ROOT

TROUBLES = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
API = (DOCS / "api.md").read_text(encoding="utf-8")

_CODE = re.compile(r"""\bcode(?:: str(?: \| None)?)? ?= ?"([a-z]+(?:_[a-z]+)*)\"""")
_MEANING = re.compile(r"""ErrorMapping\(\w+, "([a-z_]+)\"""")
_PARAMETER, IN_BRACES = re.compile(r"<(?:\w+:)?(\w+)>"), r"{\1}"
_ROW = re.compile(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| [2-5]\d\d", re.MULTILINE)


def codes_in_the_code() -> set[str]:
    """Every code that is written down anywhere but in the simulator."""
    found: set[str] = set()
    for path in (ROOT / "codexproxy").rglob("*.py"):
        if "simulator" not in path.parts:
            text = path.read_text(encoding="utf-8")
            found.update(_CODE.findall(text), _MEANING.findall(text))
    # What upstream calls it is shown where the table gives no name of ours.
    return found | {name for name, meaning in CODES.items() if meaning.code is None}


def explained() -> set[str]:
    """The codes that have a row."""
    return {name for row in _ROW.findall(TROUBLES) for name in re.findall(r"`([a-z_]+)`", row)}


def families(kind: type[ProxyError]) -> set[type[ProxyError]]:
    return {kind}.union(*(families(below) for below in kind.__subclasses__()))


def test_every_error_code_is_explained() -> None:
    codes = codes_in_the_code() | {str(kind.code) for kind in families(ProxyError)}
    assert len(codes) > 50
    assert sorted(codes - explained()) == []


def test_no_code_is_explained_that_does_not_exist() -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "codexproxy").rglob("*.py"))
    assert [code for code in sorted(explained()) if f'"{code}"' not in written] == []


def test_every_code_of_the_public_contract_is_explained() -> None:
    contract = (DOCS / "reference/contract.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [345][\d, ]+\| `\w+` \| (.*) \|$", contract.partition("## Errors")[2], re.MULTILINE)
    codes = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert len(codes) > 30
    assert sorted(codes - explained()) == []


def routes(folder: Path) -> set[str]:
    """The registered routes as the page writes them."""
    app = create_app(load_settings({"HOME": str(folder), "DATA_DIR": str(folder)}), {})
    return {
        f"{method} {_PARAMETER.sub(IN_BRACES, rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_on_the_page_and_no_other(tmp_path: Path) -> None:
    written = {entry.replace(" /v1/", " /") for entry in re.findall(r"^\| `([A-Z]+ /\S+)` \|", API, re.MULTILINE)}
    assert written == routes(tmp_path)


def test_every_header_of_ours_is_on_the_page() -> None:
    headers: set[str] = set()
    for path in (ROOT / "codexproxy").rglob("*.py"):
        if "simulator" not in path.parts:
            headers.update(re.findall(r"x-codexproxy-[a-z]+(?:-[a-z]+)*", path.read_text(encoding="utf-8")))
    assert len(headers) >= 4
    assert [name for name in sorted(headers) if f"`{name}" not in API] == []
