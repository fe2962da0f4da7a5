"""The Codex CLI of this machine as a backend (UPSTREAM.md §9).

``codex exec`` runs one process per turn and gives whole messages; ``codex
app-server`` streams. Both are told the same ``Job`` and give the same events.
"""

from codexproxy.backends.codex_exec.backend import CodexCliBackend
from codexproxy.backends.codex_exec.loopback import is_local_url
from codexproxy.backends.codex_exec.options import CodexCliOptions

__all__ = ["CodexCliBackend", "CodexCliOptions", "is_local_url"]
