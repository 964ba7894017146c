"""The dashboards and rules as they are checked in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def dashboards() -> dict[str, dict[str, Any]]:
    """Each dashboard by its uid, from its ConfigMap."""
    found = {}
    for path in sorted((ROOT / "manifests" / "dashboards").glob("lagcast-*.yaml")):
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        ((_, text),) = data["data"].items()
        found[path.stem] = json.loads(text)
    return found


def rules() -> list[dict[str, Any]]:
    """The alerting rules."""
    text = (ROOT / "manifests" / "alerts" / "lagcast.rules.yaml").read_text(encoding="utf-8")
    (group,) = yaml.safe_load(text)["groups"]
    return list(group["rules"])
