"""The policy that plans ahead: one planner for each service, and their state as bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence

from forecasting.forecaster import Forecaster
from scaler.plan.decision import GroupDecision
from scaler.plan.observation import GroupObservation
from scaler.plan.planner import ServicePlanner
from scaler.plan.service import Service
from scaler.plan.settings import PlanSettings

KIND = "lagcast.PredictivePolicy"
VERSION = 1


class PredictivePolicy:
    """Plans every service over the sample paths of its forecaster; fulfils :class:`scaler.plan.decision.Policy`.

    ``forecasters`` makes the forecaster of a service, or None: the same plan over the present level, without foresight.
    """

    def __init__(
        self,
        services: Sequence[Service],
        forecasters: Callable[[Service], Forecaster | None],
        settings: PlanSettings | None = None,
    ) -> None:
        self._settings = settings or PlanSettings()
        self._planners = {s.uid: ServicePlanner(s, forecasters(s), self._settings) for s in services}
        if len(self._planners) != len(services):
            raise ValueError("two services of a group have the same uid")

    def step(self, now: float, observed: GroupObservation) -> GroupDecision:
        """One tick at unix time ``now``; a decision for each service that was observed, in that order.

        Raises KeyError for a service that the policy was not made for.
        """
        return GroupDecision(tuple(self._planners[one.uid].step(now, one) for one in observed.services))

    def snapshot(self) -> bytes:
        """All state, forecasters included. To be restored only from where nobody else can write: it is a pickle."""
        return pickle.dumps((KIND, VERSION, self._planners), protocol=5)

    def restore(self, saved: bytes) -> None:
        """Take over a snapshot of the same services. Raises ValueError for anything else, and changes nothing then."""
        made_for: dict[str, object] = {}
        try:
            kind, version, planners = pickle.loads(saved)  # noqa: S301 - see snapshot
            if (kind, version) == (KIND, VERSION):
                made_for = {uid: (p.service, p.settings) for uid, p in planners.items()}
        except Exception as error:  # foreign bytes fail in any way
            raise ValueError("these bytes are no snapshot of a policy: start without one") from error
        if (kind, version) != (KIND, VERSION):
            raise ValueError(f"a snapshot of {kind!r} version {version}, not of {KIND!r} version {VERSION}")
        if made_for != {uid: (p.service, self._settings) for uid, p in self._planners.items()}:
            raise ValueError("the snapshot was made for other services or other settings: start without it")
        self._planners = planners
