"""Provider ``integerField``: any integer of any object; best the minimum of a node group that an autoscaler scales."""

from __future__ import annotations

from scaler.act.nodepools.fields import Field, FieldWriter
from scaler.act.nodepools.objects import ObjectRef, Objects
from scaler.api.gpu_node_pool import IntegerField


class IntegerWriter(FieldWriter):
    """A NodePoolWriter over whatever the user points at."""

    def __init__(self, objects: Objects, given: IntegerField) -> None:
        ref = ObjectRef((given.api_version,), given.kind, given.namespace or "", given.name)
        super().__init__(objects, Field(ref, given.path))
