"""Rights that were just granted: the API server's authorizer learns of them by a watch, a moment later."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from scaler.kube import KubeClient

PATIENCE = 30.0  # s
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

Rule = dict[str, Any]


def await_rights(admin: KubeClient, account: str, rules: Iterable[Rule], namespace: str = "") -> None:
    """Wait until the API server lets a ServiceAccount ("namespace:name") do all that a role's ``rules`` say, in
    ``namespace`` or, where that is empty, everywhere. It is the authorizer itself that is asked.
    """
    user = f"system:serviceaccount:{account}"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{account.partition(':')[0]}", "system:authenticated"]
    until = time.monotonic() + PATIENCE
    for wanted in _each(rules):
        spec = {"user": user, "groups": groups, "resourceAttributes": {**wanted, "namespace": namespace}}
        while True:
            answer = admin.call("POST", REVIEWS, body={"spec": spec})
            assert answer.ok, answer
            if answer.body["status"]["allowed"]:
                break
            assert time.monotonic() < until, (
                f"{account} may not {wanted} within {PATIENCE:g} s: {answer.body['status']}"
            )
            time.sleep(0.05)


def _each(rules: Iterable[Rule]) -> Iterator[dict[str, str]]:
    """What the rules allow, one by one, as a review asks for it."""
    for rule in rules:
        for group in rule["apiGroups"]:
            for path in rule["resources"]:
                resource, _, part = path.partition("/")
                for verb in rule["verbs"]:
                    yield {"group": group, "resource": resource, "subresource": part, "verb": verb}
