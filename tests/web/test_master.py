"""What gunicorn's master may not do."""

import subprocess
import sys

from tests.service import ROOT

# Modules that must be imported after gevent's patches, or after the folder of the metrics is made.
LATE = ("urllib3", "requests", "flask", "prometheus_client", "codexproxy.app")


def test_the_master_imports_nothing_that_has_to_come_later() -> None:
    script = f"import codexproxy.web.server, sys; print([name for name in {LATE!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
