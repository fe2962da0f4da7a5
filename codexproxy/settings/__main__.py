"""Prints ``docs/settings.md``; ``make docs`` keeps it."""

import sys

from codexproxy.settings.docs_generator import render

sys.stdout.write(render())
