"""A floor: the minimum of another autoscaler, raised for a while, with a mark that says by whom, over what, until when.

Pure. The mark stands in annotations of the autoscaler itself, so that whoever finds it can put the value back without
knowing anything else: the controller, ``lagcast release``, or a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from scaler.kube import Json
from scaler.observe.ports import TargetRef

OWNER = "lagcast.io/floor-owner"
VALUE = "lagcast.io/floor-value"
BEFORE = "lagcast.io/floor-before"
EXPIRES = "lagcast.io/floor-expires"
MARKS = (OWNER, VALUE, BEFORE, EXPIRES)
ABSENT = "absent"
"""What stands in the mark where the field was not there."""

LIFE = 900.0  # s a mark holds: how long a floor may outlive the controller, and half of what GPU nodes take to be seen
RENEW = 600.0  # s that remain when it is renewed: two passes of the release job before it ends


@dataclass(frozen=True, slots=True)
class Fields:
    """How one kind of autoscaler spells its bounds, and what it takes them for where they are left out."""

    api_version: str
    kind: str
    plural: str
    least: str
    most: str
    usual_least: int
    usual_most: int


HPA = Fields(
    "autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "minReplicas", "maxReplicas", 1, 1
)
SCALED_OBJECT = Fields(
    "keda.sh/v1alpha1", "ScaledObject", "scaledobjects", "minReplicaCount", "maxReplicaCount", 0, 100
)


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose a floor is, what it is, what was there before (None: nothing), and until when it holds (unix s)."""

    owner: str  # "namespace/name/uid" of the PredictiveScaler
    value: int
    before: int | None
    expires: float

    @property
    def uid(self) -> str:
        """Of the owner."""
        return self.owner.rpartition("/")[2]

    @property
    def scaler(self) -> str:
        """The owner as a reader knows it: "namespace/name"."""
        return self.owner.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """One HorizontalPodAutoscaler or ScaledObject, as it was read."""

    fields: Fields
    namespace: str
    name: str
    uid: str
    version: str  # of the resource
    target: tuple[str, str, str]  # group, kind and name of what it scales
    least: int | None
    most: int | None
    mark: Mark | None = None
    marks: tuple[tuple[str, str], ...] = ()  # its annotations as they stand there, also of one that cannot be read
    annotated: bool = False  # it has annotations at all
    writer: str | None = None  # the field manager that wrote the minimum last

    def __str__(self) -> str:
        return f"{self.fields.kind} {self.namespace}/{self.name}"

    @property
    def ref(self) -> TargetRef:
        """The object itself."""
        return TargetRef(self.fields.api_version, self.fields.kind, self.namespace, self.name)

    @property
    def broken(self) -> bool:
        """It has a mark that cannot be read: what was there before is not known."""
        return bool(self.marks) and self.mark is None

    @property
    def untouched(self) -> bool:
        """The minimum still is what the mark says that was written."""
        return self.mark is not None and self.least == self.mark.value

    @property
    def own(self) -> int | None:
        """The minimum that its user set: what was there before the floor, unless it was changed since."""
        return self.mark.before if self.mark is not None and self.untouched else self.least

    def or_usual(self, least: int | None) -> int:
        """What the autoscaler makes of a minimum that is left out."""
        return self.fields.usual_least if least is None else least

    @property
    def ceiling(self) -> int:
        """The maximum that holds."""
        return self.fields.usual_most if self.most is None else self.most

    def scales(self, target: TargetRef) -> bool:
        """Whether it is this target's."""
        return (self.namespace, self.target) == (target.namespace, scaled(target))


def scaled(target: TargetRef) -> tuple[str, str, str]:
    """As ``Autoscaler.target`` has it. A group's versions are views of one object."""
    return (target.api_version.rpartition("/")[0], target.kind, target.name)


def read_autoscaler(item: Json, fields: Fields, writer: str | None) -> Autoscaler:
    """From the API server's object; ``writer`` wrote its minimum last."""
    metadata, spec = item["metadata"], item.get("spec") or {}
    ref = spec.get("scaleTargetRef") or {}
    annotations = metadata.get("annotations") or {}
    # KEDA takes a reference without kind or version for a Deployment's; an HPA's always has them.
    kind, version = ref.get("kind") or "Deployment", ref.get("apiVersion") or "apps/v1"
    return Autoscaler(
        fields,
        str(metadata.get("namespace", "")),
        str(metadata["name"]),
        str(metadata.get("uid", "")),
        str(metadata.get("resourceVersion", "")),
        (str(version).rpartition("/")[0], str(kind), str(ref.get("name", ""))),
        spec.get(fields.least),
        spec.get(fields.most),
        read_mark(annotations),
        tuple((name, str(annotations[name])) for name in MARKS if name in annotations),
        bool(annotations),
        writer,
    )


def read_mark(annotations: Mapping[str, str]) -> Mark | None:
    """The mark, when it is whole and can be read."""
    try:
        before = annotations[BEFORE]
        return Mark(
            annotations[OWNER],
            int(annotations[VALUE]),
            None if before == ABSENT else int(before),
            datetime.fromisoformat(annotations[EXPIRES]).timestamp(),
        )
    except (KeyError, ValueError):
        return None


def written_mark(mark: Mark) -> dict[str, str]:
    """A mark as annotations."""
    expires = datetime.fromtimestamp(int(mark.expires), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = ABSENT if mark.before is None else str(mark.before)
    return dict(zip(MARKS, (mark.owner, str(mark.value), before, expires), strict=True))


def raise_patch(found: Autoscaler, mark: Mark) -> list[Json]:
    """A JSON Patch (RFC 6902) that makes ``mark`` hold, over what was read and nothing else."""
    field = f"/spec/{found.fields.least}"
    # ``add`` replaces what is there: the tests before it see to it that this is what was read.
    return [
        *_tests(found),
        {"op": "add", "path": field, "value": mark.value},
        *([] if found.annotated else [{"op": "add", "path": "/metadata/annotations", "value": {}}]),
        *({"op": "add", "path": _annotation(name), "value": value} for name, value in written_mark(mark).items()),
    ]


def restore_patch(found: Autoscaler) -> list[Json]:
    """A JSON Patch that takes the mark off, and puts back what was there before it where nobody has changed it since.

    A maximum that was lowered meanwhile bounds it.
    """
    change: list[Json] = []
    field = f"/spec/{found.fields.least}"
    if found.mark is not None and found.untouched and found.mark.before != found.least:
        if found.mark.before is None:
            change.append({"op": "remove", "path": field})
        else:
            change.append({"op": "replace", "path": field, "value": min(found.mark.before, found.ceiling)})
    return [*_tests(found), *change, *({"op": "remove", "path": _annotation(name)} for name, _ in found.marks)]


def _tests(found: Autoscaler) -> list[Json]:
    """What must still be so. Where something is not there yet, nothing can be tested but the version of the whole: a
    test of a path that is not there fails.
    """
    same: list[Json] = [{"op": "test", "path": "/metadata/uid", "value": found.uid}]
    if found.mark is None or found.least is None:
        same.append({"op": "test", "path": "/metadata/resourceVersion", "value": found.version})
    # All of it: what was renewed since has not expired.
    same += [{"op": "test", "path": _annotation(name), "value": value} for name, value in found.marks]
    if found.least is not None:
        same.append({"op": "test", "path": f"/spec/{found.fields.least}", "value": found.least})
    return same


def _annotation(name: str) -> str:
    return f"/metadata/annotations/{name.replace('/', '~1')}"
