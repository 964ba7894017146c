"""What a wrapper passes on to the forecaster in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

STUDY = ("kept", "study", "adopt")


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """A method of whatever forecaster is in ``wrapper`` when it is called; can be pickled."""

    wrapper: Any
    name: str

    def __call__(self, *arguments: Any) -> Any:
        return getattr(self.wrapper.forecaster, self.name)(*arguments)


def pass_on_study(wrapper: Any) -> None:
    """Give ``wrapper`` the methods of :class:`~forecasting.forecaster.Studying` that the forecaster in it has.

    As attributes of its own: from Python 3.12 on, a check against a protocol does not see what ``__getattr__`` finds.
    """
    for name in STUDY:
        if hasattr(wrapper.forecaster, name):
            setattr(wrapper, name, Passed(wrapper, name))
