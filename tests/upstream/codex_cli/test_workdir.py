"""A request works below the owner's folder, whatever it names."""

from pathlib import Path

import pytest

from codexproxy.errors import InvalidRequest
from codexproxy.upstream.codex_cli.security.sandbox import resolve_workdir


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder to work in, with all kinds of things in and around it."""
    root = tmp_path / "root"
    (root / "project" / "inner").mkdir(parents=True)
    (root / "with space").mkdir()
    (root / "..hidden").mkdir()
    (root / "file").write_text("no folder")
    (tmp_path / "outside").mkdir()
    (tmp_path / "root-twin").mkdir()
    (root / "to-outside").symlink_to(tmp_path / "outside")
    (root / "to-root").symlink_to("/")
    (root / "to-parent").symlink_to("..")
    (root / "to-twin").symlink_to(tmp_path / "root-twin")
    (root / "to-inside").symlink_to(root / "project")
    (root / "to-file").symlink_to(root / "file")
    (root / "dangling").symlink_to(tmp_path / "nowhere")
    (root / "loop").symlink_to("loop")
    (root / "project" / "chain").symlink_to(root / "to-outside")
    return root


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("project", "project"),
        ("project/", "project"),
        ("./project", "project"),
        ("project/./inner", "project/inner"),
        ("project//inner", "project/inner"),
        ("with space", "with space"),
        ("..hidden", "..hidden"),
        (".", "."),
        ("to-inside", "project"),
        ("to-inside/inner", "project/inner"),
        ("{root}/project", "project"),
        ("{root}", "."),
    ],
)
def test_folders_below_the_root_are_taken(root: Path, wanted: str, found: str) -> None:
    assert resolve_workdir(root, wanted.format(root=root)) == (root / found).resolve()


ESCAPES = [
    "..",
    "../outside",
    "../root-twin",
    "project/../..",
    "project/../../outside",
    "project/..",
    "./../outside",
    "project/inner/../../../outside",
    "..\\outside",
    "/",
    "/etc",
    "//etc",
    "{root}/../outside",
    "{root}-twin",
    "{outside}",
    "to-outside",
    "to-outside/.",
    "to-root",
    "to-root/etc",
    "to-parent",
    "to-parent/outside",
    "to-twin",
    "project/chain",
    "dangling",
    "loop",
    "file",
    "to-file",
    "missing",
    "project/missing",
    "~",
    "~root",
    "$HOME",
    "",
    " ",
    "project\0",
    "project\n",
    "\x7f",
    "/proc/self/root",
    "/proc/self/cwd",
    "%2e%2e/outside",
    "x" * 5000,
    "project/" * 2000,
]


@pytest.mark.parametrize("wanted", ESCAPES, ids=lambda wanted: ascii(wanted)[:40])
def test_whatever_leads_elsewhere_is_refused(root: Path, wanted: str) -> None:
    path = wanted.replace("{root}", str(root)).replace("{outside}", str(root.parent / "outside"))
    with pytest.raises(InvalidRequest) as refusal:
        resolve_workdir(root, path)
    assert (refusal.value.status, refusal.value.param) == (400, "x_codex.workdir")


def test_a_missing_folder_and_one_elsewhere_look_the_same(root: Path) -> None:
    messages = set()
    for wanted in ("missing", "to-outside", "/etc", "/does-not-exist"):
        with pytest.raises(InvalidRequest) as refusal:
            resolve_workdir(root, wanted)
        messages.add(refusal.value.message)
    assert len(messages) == 1


def test_without_a_root_every_request_gets_a_folder_of_its_own() -> None:
    assert resolve_workdir(None, None) is None
    with pytest.raises(InvalidRequest, match="CODEX_WORKDIR"):
        resolve_workdir(None, "project")


def test_a_request_that_names_none_works_in_the_root(root: Path) -> None:
    assert resolve_workdir(root, None) == root.resolve()


def test_a_root_that_is_a_link_is_followed_and_one_that_is_missing_is_told(tmp_path: Path, root: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    assert resolve_workdir(link, "project") == (root / "project").resolve()
    with pytest.raises(InvalidRequest, match="CODEX_WORKDIR is not a folder"):
        resolve_workdir(tmp_path / "gone", "project")
