"""Read a configuration file: whole, or not at all.

:func:`load` refuses a file with every error in it at once, one line each:
``file: object: field: found ...; allowed: ...``. :func:`check` finds the same, also in files that hold other objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaler.api.gpu_node_pool import GpuNodePool
from scaler.api.objects import KINDS, Resource, is_ours, parse
from scaler.api.predictive_scaler import API_VERSION, KIND, PredictiveScaler
from scaler.api.yamlfile import YamlError, read_documents
from scaler.errors import ConfigError

MOST_BYTES = 4 << 20
MOST_OBJECTS = 10_000
_MOST_LINES = 200


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the object, empty when it is the file itself, and a sentence."""

    object: str
    text: str

    def __str__(self) -> str:
        return f"{self.object}: {self.text}" if self.object else self.text


@dataclass(frozen=True, slots=True)
class Checked:
    """What a file holds: Lagcast's objects that are right, what is wrong, and how many objects are somebody else's."""

    resources: tuple[Resource, ...]
    faults: tuple[Fault, ...]
    others: int = 0


@dataclass(frozen=True, slots=True)
class Declared:
    """What a file declares, in its order."""

    scalers: tuple[PredictiveScaler, ...] = ()
    pools: tuple[GpuNodePool, ...] = ()


def load(path: Path | str) -> tuple[PredictiveScaler, ...]:
    """All scalers of a YAML file that holds nothing else, in its order; see ``load_all``."""
    return _load(path, (KIND,)).scalers


def load_all(path: Path | str) -> Declared:
    """All scalers and pools of the YAML file ``path``.

    The file holds one or several documents, each an object, a ``kind: List`` or a YAML list of objects. Raises
    ConfigError, whose message has one line for each thing that is wrong.
    """
    return _load(path, KINDS)


def _load(path: Path | str, kinds: Sequence[str]) -> Declared:
    checked = _check(Path(path), kinds, others_pass=False)
    if faults := checked.faults:
        shown = [f"{path}: {fault}" for fault in faults[:_MOST_LINES]]
        if len(faults) > _MOST_LINES:
            shown.append(f"{path}: and {len(faults) - _MOST_LINES} more")
        raise ConfigError("\n".join(shown))
    return Declared(
        tuple(resource for resource in checked.resources if isinstance(resource, PredictiveScaler)),
        tuple(resource for resource in checked.resources if isinstance(resource, GpuNodePool)),
    )


def check(path: Path | str) -> Checked:
    """Look at a file as the API server would at each object in it; objects of others are passed over."""
    return _check(Path(path), KINDS, others_pass=True)


def _check(path: Path, kinds: Sequence[str], *, others_pass: bool) -> Checked:
    try:
        documents = read_documents(_read(path))
    except YamlError as error:
        return Checked((), (Fault("", str(error)),))
    except OSError as error:
        return Checked((), (Fault("", f"cannot be read: {error.strerror or error}"),))
    resources: list[tuple[str, Resource]] = []
    faults: list[Fault] = []
    position = others = 0
    for position, item in enumerate(_objects(documents), start=1):
        if position > MOST_OBJECTS:
            faults.append(Fault("", f"found more than {MOST_OBJECTS} objects; allowed: at most that many in one file"))
            break
        if others_pass and not is_ours(item):
            others += 1
            continue
        label = _label(item, position)
        parsed = parse(item, kinds)
        faults += [Fault(label, line) for line in parsed.faults]
        if parsed.resource is not None:
            resources.append((label, parsed.resource))
    if position == others:
        faults.append(Fault("", f"found no object; allowed: one or more of {API_VERSION} {' or '.join(kinds)}"))
    faults += _duplicates(resources)
    return Checked(tuple(resource for _, resource in resources), tuple(faults), others)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise YamlError(f"found more than {MOST_BYTES >> 20} MiB; allowed: a smaller file")
    return raw


def _objects(documents: Iterable[object]) -> Iterator[object]:
    for document in documents:
        if document is None:
            continue  # an empty document, as a leading or trailing --- makes
        if isinstance(document, list):
            yield from document
        elif isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
            yield from document["items"]
        else:
            yield document


def _label(item: object, position: int) -> str:
    """Kind, namespace and name where they can be read; else the position in the file."""
    metadata = item.get("metadata") if isinstance(item, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name := metadata.get("name"), str):
        return f"object {position}"
    kind = item.get("kind") if isinstance(item, dict) else None
    kind = kind if isinstance(kind, str) and kind in KINDS else KIND
    namespace = metadata.get("namespace", "default")
    place = f"{namespace}/{name}" if isinstance(namespace, str) and kind == KIND else name
    # The label goes into logs and on terminals: nothing long, no control characters.
    if len(place) > 320 or not place.isprintable():
        return f"object {position}"
    return f"{kind} {place}"


def _duplicates(resources: Sequence[tuple[str, Resource]]) -> list[Fault]:
    faults: list[Fault] = []
    names: set[tuple[str, str, str]] = set()
    uids: dict[str, str] = {}
    targets: dict[tuple[str, str, str, str], str] = {}
    for label, resource in resources:
        scaler = resource if isinstance(resource, PredictiveScaler) else None
        namespace = scaler.metadata.namespace if scaler is not None else ""
        name = (resource.kind, namespace, resource.metadata.name)
        if name in names:
            once = "once in a namespace" if scaler is not None else "once"
            faults.append(Fault(label, f"metadata.name: found a second time; allowed: {once}"))
            continue
        names.add(name)
        uid = scaler.uid if scaler is not None else resource.metadata.uid
        if uid is not None and (first := uids.setdefault(uid, label)) is not label:
            faults.append(Fault(label, f"metadata.uid: found that of {first}; allowed: one of its own"))
        if scaler is None:
            continue
        if (first := targets.setdefault(scaler.subject, label)) is not label:
            target = scaler.spec.target
            text = f"found {target.kind} {namespace}/{target.name}, which {first} scales"
            faults.append(Fault(label, f"spec.target: {text}; allowed: one scaler for each target"))
    return faults
