"""The Codex CLI of this machine as a backend (docs/reference/codex-cli.md#running-it).

``codex exec`` runs one process per turn and gives whole messages; ``codex
app-server`` streams. Both get the same ``Job`` and give the same events.
"""

from codexproxy.upstream.codex_cli.backend import CodexCliBackend
from codexproxy.upstream.codex_cli.run_spec import CodexCliOptions
from codexproxy.upstream.codex_cli.security.local_only import is_local_url

__all__ = ["CodexCliBackend", "CodexCliOptions", "is_local_url"]
