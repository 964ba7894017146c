"""The lab's exceptions.

LabError
+-- MissingProgram    something must be installed first; says what (who runs the lab)
+-- BuildFailed       a program could not be built; names the log (who runs the lab)
+-- StartFailed       a server did not come up; names it and its log (who runs the lab)
+-- NotUp             the lab, or a part of it, has not been started in this folder (who runs the lab)
+-- StateUnreadable   the state file is damaged or of another version (who runs the lab)
"""

from __future__ import annotations


class LabError(Exception):
    """Base of the errors that the lab raises on purpose. The message names the object and what to do."""


class MissingProgram(LabError):
    """A program that the lab needs is not on PATH, or is too old."""


class BuildFailed(LabError):
    """A program of the lab could not be built."""


class StartFailed(LabError):
    """A server of the lab ended, or did not answer in time."""


class NotUp(LabError):
    """The lab, or the part asked for, has not been started in this folder."""


class StateUnreadable(LabError):
    """The state file cannot be read as one."""
