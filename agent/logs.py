"""Logs: one line of key=value for each event, on standard error. Never a secret."""

import logging
import sys
from typing import Any

# structlog loads rich, when it is there, for coloured tracebacks that nobody sees in a
# journal: five megabytes for the life of the agent.
_missing: Any = None
sys.modules.setdefault("rich", _missing)

import structlog  # noqa: E402


def configure_logs(level: str = "info") -> None:
    """Call once, before the first log line."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        ),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
