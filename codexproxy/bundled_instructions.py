"""The instruction texts that come with the package, one per model family.

In a wheel they are data of ``codexproxy.prompts``; an editable install and a
plain checkout have them in the folder ``prompts/`` beside the package.
"""

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import pairwise
from pathlib import Path


def load_family_prompts() -> Mapping[str, str]:
    """Texts by family: ``{"gpt-5.2-codex": "…"}``; the file is ``gpt-5-2-codex.md``.

    Raises:
        FileNotFoundError: The installation holds no instruction texts.
    """
    folder = _folder()
    pages = (page for page in folder.iterdir() if page.name.endswith(".md"))
    prompts = {family_of(page.name): page.read_text(encoding="utf-8").strip() for page in pages}
    if not prompts:
        raise FileNotFoundError(f"There are no instruction texts in {folder}; please install codexproxy again.")
    return prompts


def family_of(file_name: str) -> str:
    """The model family a file is for; ``-`` between two digits stands for a dot."""
    words = file_name.removesuffix(".md").split("-")
    family = words[0]
    for before, word in pairwise(words):
        family += ("." if before.isdigit() and word.isdigit() else "-") + word
    return family


def _folder() -> Traversable:
    packaged = files("codexproxy") / "prompts"
    if packaged.is_dir():
        return packaged
    return Path(__file__).resolve().parent.parent / "prompts"
