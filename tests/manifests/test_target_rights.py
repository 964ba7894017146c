"""The rights for targets of other kinds: the count through /scale, and when it changes; nothing else."""

from __future__ import annotations

import yaml

from tests.manifests.checked_in import ROOT

LABEL = {"lagcast.io/aggregate-to-targets": "true"}


def test_each_kind_has_a_role_that_is_taken_up_and_may_scale_and_no_more() -> None:
    items = list(yaml.safe_load_all((ROOT / "manifests" / "base" / "targets.yaml").read_text(encoding="utf-8")))
    roles = [item for item in items if item["kind"] == "ClusterRole" and "rules" in item]
    assert {item["metadata"]["name"] for item in roles} == {
        "lagcast-target-rollout",
        "lagcast-target-leader-worker-set",
    }
    for role in roles:
        assert role["metadata"]["labels"] == LABEL
        watched, scaled = role["rules"]
        assert (watched["verbs"], scaled["verbs"]) == (["list", "watch"], ["get", "patch"])
        assert watched["apiGroups"] == scaled["apiGroups"]
        assert [f"{resource}/scale" for resource in watched["resources"]] == scaled["resources"]
    (whole,) = (item for item in items if "aggregationRule" in item)
    assert whole["aggregationRule"]["clusterRoleSelectors"] == [{"matchLabels": LABEL}]
    (binding,) = (item for item in items if item["kind"] == "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == whole["metadata"]["name"]
    assert [(one["kind"], one["name"]) for one in binding["subjects"]] == [("ServiceAccount", "lagcast")]
