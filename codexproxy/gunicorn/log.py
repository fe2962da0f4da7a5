"""gunicorn's own lines in our log: one format, one place, one redaction."""

from typing import Any

from gunicorn.glogging import Logger


class GunicornLog(Logger):  # type: ignore[misc]
    """Hands gunicorn's records to the handlers that ``configure_logging`` installed."""

    def setup(self, cfg: Any) -> None:
        """Keeps gunicorn's levels and drops its handlers."""
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            for handler in list(logger.handlers):
                logger.removeHandler(handler)
            logger.propagate = True

    def _compute_access_log_enabled(self) -> bool:
        # Requests are logged with their tokens and times already; gunicorn's lines come only when asked for.
        return bool(self.cfg.accesslog)
