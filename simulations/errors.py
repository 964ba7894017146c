"""What goes wrong in the simulations.

::

    SimulationError         the command stops and shows the message
    +-- BadSetting          a setting that cannot be: the message names the field, what was found, what is allowed
    +-- BadStudy            a study that was made by another version, or for other data: start a new one
    +-- JobFailed           (simulations.executor) a job of a sweep that raised, or whose worker died: it is named

Load that cannot be read is :class:`forecasting.errors.BadSeries`.
"""

from __future__ import annotations


class SimulationError(Exception):
    """The base of all of them."""


class BadSetting(SimulationError, ValueError):
    """A setting that cannot be. For the user to correct."""


class BadStudy(SimulationError):
    """A tuning study that cannot be gone on with. For the user: start another, or use the version that made it."""
