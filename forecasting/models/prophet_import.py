"""Importing this imports Prophet, without what Prophet logs meanwhile (that it cannot draw, say)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent() -> Iterator[None]:
    """Turn off the loggers of Prophet and of its optimiser; whatever they were set to comes back."""
    # Not by their level: cmdstanpy sets its own when it first logs.
    loggers = [logging.getLogger(name) for name in ("prophet", "prophet.plot", "prophet.models", "cmdstanpy")]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


with silent():
    import cmdstanpy
    import prophet

__all__ = ["cmdstanpy", "prophet", "silent"]
