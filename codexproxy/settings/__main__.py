"""Prints ``docs/settings.md``; ``make docs`` keeps it."""

import sys

from codexproxy.settings.document import render

sys.stdout.write(render())
