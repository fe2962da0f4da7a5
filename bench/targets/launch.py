"""Starts a server written in Python with other values in place of its constants, and changes nothing else.

A file for the server's own Python, which knows nothing of this project:
``python launch.py '{"start": "package.cli:main", "constants": {…}, "lifted": {…}}' ARGUMENTS…``.
``constants`` are names that modules of its package hold, each with its new value; ``lifted`` are objects
(``module:NAME``), each with the attributes that are set: a cap of a library it uses, say.
"""

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any


def main() -> None:
    """Loads the server, replaces, and starts it with the arguments that are left."""
    plan = json.loads(sys.argv.pop(1))
    name, _, function = plan["start"].partition(":")
    module = importlib.import_module(name)
    replace(name.partition(".")[0], plan["constants"])
    for place, attributes in plan["lifted"].items():
        owner, _, thing = place.partition(":")
        vars(getattr(importlib.import_module(owner), thing)).update(attributes)
    getattr(module, function)()


def replace(package: str, constants: Mapping[str, Any]) -> None:
    """Gives constants their new values in every loaded module of the package that holds them.

    Raises:
        AttributeError: None does: this version of the server has other names.
    """
    modules = [vars(module) for name, module in list(sys.modules.items()) if name.partition(".")[0] == package]
    for constant, value in constants.items():
        holders = [module for module in modules if constant in module]
        if not holders:
            raise AttributeError(f"{package} has no {constant}")
        for module in holders:
            module[constant] = value


if __name__ == "__main__":
    main()
