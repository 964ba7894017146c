"""Which files a scaler of the cluster may name: those of its own namespace, below the folder of credentials.

Who may write a PredictiveScaler also says which server is asked. Without this, another namespace's password, or the
controller's own token, could be sent to a server of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from scaler.api.kafka import FILES
from scaler.api.predictive_scaler import PredictiveScaler

CREDENTIALS = PurePosixPath("/etc/lagcast/credentials")


def outside(resource: PredictiveScaler, credentials: PurePosixPath) -> str:
    """What names a file elsewhere, in words; empty when nothing does. Paths are not shown: one may be a password."""
    own = credentials / resource.metadata.namespace
    wrong = [field for field, path in _files(resource) if not _below(path, own)]
    if not wrong:
        return ""
    return (
        f"{', '.join(wrong)}: found a file elsewhere; allowed: files below {own}, where the controller's pod has the "
        "credentials of this namespace"
    )


def _files(resource: PredictiveScaler) -> Iterator[tuple[str, str]]:
    """Field and path of each file that is named."""
    for key, value in resource.spec.kafka.properties.items():
        if key in FILES:
            yield f"spec.kafka.properties.{key}", value
    latency = resource.spec.latency
    if latency is not None and latency.access is not None:
        for name, path in latency.access.files.items():
            yield f"spec.latency.access.{name}", path


def _below(path: str, folder: PurePosixPath) -> bool:
    """By its words alone: what is mounted there is the operator's own, links included."""
    parts = PurePosixPath(path)
    return parts != folder and parts.is_relative_to(folder) and ".." not in parts.parts
