"""Lagcast as a resource declares it, in a simulation: the controller's own maker, with the resource's forecaster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scaler.api.predictive_scaler import PredictiveScaler
from scaler.plan.decision import Policy
from scaler.plan.service import Service


@dataclass(frozen=True, slots=True)
class Declared:
    """Makes the policy ``lagcast`` for one resource; a value, so that it can be sent to a worker."""

    resource: PredictiveScaler

    def __call__(self, services: Sequence[Service]) -> Policy:
        """The policy of one service. Raises ValueError for several: a resource declares one."""
        from scaler.predictive import make_policy

        (service,) = services
        return make_policy(self.resource, service)
