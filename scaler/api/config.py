"""Read a configuration file: whole, or not at all.

:func:`load` refuses a file with every error in it at once, one line each:
``file: object: field: found ...; allowed: ...``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scaler.api.describe import found
from scaler.api.predictive_scaler import API_VERSION, KIND, PredictiveScaler
from scaler.api.refusal import refusals
from scaler.api.yamlfile import YamlError, read_documents
from scaler.errors import ConfigError

MOST_BYTES = 4 << 20
MOST_OBJECTS = 10_000
_MOST_LINES = 200


def load(path: Path | str) -> tuple[PredictiveScaler, ...]:
    """All scalers of the YAML file ``path``, in its order.

    The file holds one or several documents, each an object, a ``kind: List`` or a YAML list of objects. Raises
    ConfigError, whose message has one line for each thing that is wrong.
    """
    path = Path(path)
    try:
        raw = _read(path)
        documents = read_documents(raw)
    except YamlError as error:
        raise ConfigError(f"{path}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None

    scalers: list[tuple[str, PredictiveScaler]] = []
    faults: list[str] = []
    position = 0
    for position, item in enumerate(_objects(documents), start=1):
        if position > MOST_OBJECTS:
            faults.append(f"found more than {MOST_OBJECTS} objects; allowed: at most that many in one file")
            break
        label = _label(item, position)
        scaler, wrong = _parse(item)
        faults += [f"{label}: {line}" for line in wrong]
        if scaler is not None:
            scalers.append((label, scaler))
    if position == 0:
        faults.append(f"found no object; allowed: one or more of {API_VERSION} {KIND}")
    faults += _duplicates(scalers)
    if faults:
        shown = [f"{path}: {fault}" for fault in faults[:_MOST_LINES]]
        if len(faults) > _MOST_LINES:
            shown.append(f"{path}: and {len(faults) - _MOST_LINES} more")
        raise ConfigError("\n".join(shown))
    return tuple(scaler for _, scaler in scalers)


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
    namespace = metadata.get("namespace", "default")
    place = f"{namespace}/{name}" if isinstance(namespace, str) else name
    # The label goes into logs and on terminals: nothing long, no control characters.
    if len(place) > 320 or not place.isprintable():
        return f"object {position}"
    return f"{KIND} {place}"


def _parse(item: object) -> tuple[PredictiveScaler | None, Sequence[str]]:
    if not isinstance(item, Mapping):
        return None, [f"found {found(item)}; allowed: an object of {API_VERSION} {KIND}"]
    # Of another kind of object, nothing but its kind is worth a line.
    wrong = [
        f"{field}: found {found(item.get(field))}; allowed: {allowed}"
        for field, allowed in (("apiVersion", API_VERSION), ("kind", KIND))
        if item.get(field) != allowed
    ]
    if wrong:
        return None, wrong
    try:
        return PredictiveScaler.model_validate(dict[str, Any](item)), []
    except ValidationError as error:
        return None, refusals(error, PredictiveScaler)


def _duplicates(scalers: Sequence[tuple[str, PredictiveScaler]]) -> list[str]:
    faults: list[str] = []
    names: set[tuple[str, str]] = set()
    uids: dict[str, str] = {}
    targets: dict[tuple[str, str, str, str], str] = {}
    for label, scaler in scalers:
        metadata, target = scaler.metadata, scaler.spec.target
        name = (metadata.namespace, metadata.name)
        if name in names:
            faults.append(f"{label}: metadata.name: found a second time; allowed: once in a namespace")
            continue
        names.add(name)
        if (first := uids.setdefault(scaler.uid, label)) is not label:
            faults.append(f"{label}: metadata.uid: found that of {first}; allowed: one of its own")
        # A group's versions are views of one object: apps/v1 and apps/v1beta1 name the same Deployment.
        group = target.api_version.rpartition("/")[0]
        place = (metadata.namespace, group, target.kind, target.name)
        if (first := targets.setdefault(place, label)) is not label:
            faults.append(
                f"{label}: spec.target: found {target.kind} {metadata.namespace}/{target.name}, which {first} scales; "
                "allowed: one scaler for each target"
            )
    return faults
