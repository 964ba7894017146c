"""Objects that are right, and what makes them wrong: for the models, and for the real API server."""

from __future__ import annotations

import copy
from typing import Any

REMOVE = object()
GOOD: dict[str, Any] = {
    "apiVersion": "lagcast.io/v1alpha1",
    "kind": "PredictiveScaler",
    "metadata": {"name": "chat"},
    "spec": {
        "target": {"name": "chat"},
        "kafka": {"bootstrapServers": "kafka:9092", "topic": "requests", "consumerGroup": "chat"},
        "latency": {"prometheus": "http://prometheus:9090", "selector": 'app="chat"'},
        "objective": {"within": "10s", "share": "99.9%"},
        "replicas": {"min": 1, "max": 10, "serviceRate": "0.3"},
    },
}
POOL: dict[str, Any] = {
    "apiVersion": "lagcast.io/v1alpha1",
    "kind": "GpuNodePool",
    "metadata": {"name": "h100"},
    "spec": {
        "provider": {"karpenter": {"nodePool": "h100"}},
        "node": {"gpus": 8, "replicas": 8, "selector": {"pool": "h100"}, "leadTime": "7m", "costPerHour": "31.2"},
        "nodes": {"min": 1, "max": 12},
        "budget": {"gpus": 64, "costPerHour": "300"},
        "mode": "Enforce",
    },
}


def spoil(made: dict[str, Any], field: str, value: object) -> dict[str, Any]:
    """A copy with one field set by its path, or taken away."""
    made = copy.deepcopy(made)
    *above, last = field.split(".")
    inside = made
    for part in above:
        inside = inside.setdefault(part, {})
    if value is REMOVE:
        del inside[last]
    else:
        inside[last] = value
    return made


SALE = {"name": "sale", "begin": "2026-11-27T09:00", "end": "2026-11-27T18:00", "factor": "2.5"}
OFFICE = {"name": "office", "days": ["Mon", "Fri"], "begin": "08:00", "end": "18:00", "min": 3}

# (field, its value, what the refusal says)
WRONG: list[tuple[str, Any, list[str]]] = [
    # unknown fields, at every level, with the likely name
    ("spec.replicas.minimum", 1, ["spec.replicas.minimum: found an unknown field", "min, max, serviceRate"]),
    ("spec.replica", {}, ["spec.replica: found an unknown field", 'did you mean "replicas"?']),
    ("spec.latency.promethus", "x", ["spec.latency.promethus", 'did you mean "prometheus"?']),
    ("stattus", {}, ["stattus: found an unknown field; allowed here: apiVersion, kind, metadata, spec"]),
    ("metadata.lables", {}, ["metadata.lables", 'did you mean "labels"?']),
    # numbers where strings are asked for, and the other way round
    ("spec.objective.within", 10, ["found the number 10", 'write "10s"', "allowed:"]),
    ("spec.objective.share", 99.9, ["found the number 99.9", 'write "99.9%"']),
    ("spec.replicas.serviceRate", 0.3, ["found the number 0.3", 'write "0.3"']),
    ("spec.replicas.min", "1", ['spec.replicas.min: found "1"; allowed: a whole number']),
    ("spec.replicas.max", 2.5, ["spec.replicas.max: found the number 2.5; allowed: a whole number"]),
    ("spec.replicas.max", True, ["found true (a boolean); allowed: a whole number"]),
    ("spec.kafka.topic", 7, ["spec.kafka.topic: found the number 7; allowed: a string"]),
    ("metadata.labels", {"a": 1}, ["metadata.labels.a: found the number 1; allowed: a string"]),
    # wrong units and signs
    ("spec.replicas.leadTime", "2 minutes", ['found "2 minutes"', "d, h, m, s, ms"]),
    ("spec.replicas.leadTime", "-2m", ['found "-2m"', "never negative"]),
    ("spec.replicas.serviceRate", "-1", ['found "-1"', "never negative"]),
    ("spec.replicas.min", -1, ["found the number -1; allowed: at least 0"]),
    ("spec.replicas.max", 0, ["found the number 0; allowed: at least 1"]),
    ("spec.replicas.max", 10**30, ["found a number beyond all bounds; allowed: at most 100000"]),
    # bounds
    ("spec.objective.share", "100%", ["found 100%; allowed: more than 0% and less than 100%"]),
    ("spec.objective.share", "0%", ["found 0%; allowed: more than 0% and less than 100%"]),
    ("spec.replicas.serviceRate", "0", ["found 0; allowed: from 0.000001 to 1000000"]),
    ("spec.objective.within", "0s", ["found 0s; allowed: from 1ms to 7d"]),
    ("spec.replicas.leadTime", "1d", ["found 1d; allowed: from 100ms to 6h"]),
    ("spec.kafka.topic", "x" * 250, ["at most 249 characters"]),
    ("spec.kafka.topic", "", ["at least 1 characters"]),
    # rules over several fields
    ("spec.replicas.min", 11, ["spec.replicas.max: found 10; allowed: at least min, which is 11"]),
    ("spec.replicas.serviceTime", "11s", ["spec.replicas.serviceTime: found 11s", "at most objective.within"]),
    ("spec.replicas.serviceRate", "50m", ["spec.replicas.serviceTime: found nothing", "1 / serviceRate = 20s"]),
    ("spec.forecast", {"step": "7s"}, ["spec.forecast.season: found 1d; allowed: a multiple of step, which is 7s"]),
    ("spec.forecast", {"season": "14d"}, ["spec.forecast.history: found 7d", "at least season, which is 14d"]),
    ("spec.forecast", {"step": "1s"}, ["spec.forecast.history: found 7d", "at most 50000 steps of 1s"]),
    ("spec.gpu", {}, ["spec.gpu.pool: found nothing; it must be given"]),
    ("spec.gpu", {"pool": "H100"}, ['spec.gpu.pool: found "H100"', "a Kubernetes name"]),
    ("spec.gpu", {"pool": "h100", "perReplica": 0}, ["spec.gpu.perReplica: found the number 0; allowed: at least 1"]),
    ("spec.gpu", {"pool": "h100", "weight": "0"}, ["spec.gpu.weight: found 0; allowed: from 0.01 to 100"]),
    # what is planned, and when
    ("spec.forecast.timeZone", "Berlin time", ["spec.forecast.timeZone", "IANA name"]),
    ("spec.forecast.timeZone", "", ["spec.forecast.timeZone", "at least 1 characters"]),
    ("spec.forecast.holidays", [{"name": "x"}], ["spec.forecast.holidays[0].date: found nothing"]),
    ("spec.forecast.holidays", [{"date": "2026-02-29"}], ["holidays[0].date", "a date of the years 2000 to 2099"]),
    ("spec.forecast.holidays", [{"date": "25.12.2026"}], ["holidays[0].date", "a date of the years"]),
    ("spec.forecast.holidays", [{"date": "2026-12-25"}] * 2, ["found date 2026-12-25 a second time"]),
    ("spec.forecast.holidays", [{"date": "2026-12-25", "last": "2026-12-24"}], ["holidays[0].last", "a later day"]),
    ("spec.forecast.holidays", [{"date": "2026-12-25", "last": "2027-01-25"}], ["holidays[0].last", "at most 31 days"]),
    ("spec.forecast.holidays", [{"date": "2026-12-25", "like": "Sunday"}], ["holidays[0].like", "Mon, Tue, Wed"]),
    (
        "spec.forecast.holidays",
        [{"date": "2026-12-25", "like": "2026-12-25"}],
        ["holidays[0].like: found 2026-12-25; allowed: a day before date"],
    ),
    ("spec.forecast.holidays", [{"date": "2026-12-25", "like": "2027-01-01"}], ["holidays[0].like", "a day before"]),
    (
        "spec.forecast.holidays",
        [{"date": "2026-12-25", "day": "x"}],
        ["holidays[0].day: found an unknown field; allowed"],
    ),
    ("spec.forecast", {"model": "none", "holidays": [{"date": "2026-12-25"}]}, ["forecast.holidays: found 1; allowed"]),
    ("spec.forecast.holidays", [{"date": f"20{year}-12-25"} for year in range(10, 75)], ["at most 64 entries"]),
    ("spec.plannedEvents", [SALE, SALE], ["spec.plannedEvents: found name sale a second time"]),
    (
        "spec.plannedEvents",
        [{**SALE, "rate": "9"}],
        ["plannedEvents[0]: found factor and rate; allowed: exactly one of"],
    ),
    ("spec.plannedEvents", [{**SALE, "factor": None}], ["plannedEvents[0]: found none; allowed: exactly one of"]),
    (
        "spec.plannedEvents",
        [{**SALE, "factor": "0"}],
        ["plannedEvents[0].factor: found 0; allowed: from 0.001 to 1000"],
    ),
    ("spec.plannedEvents", [{**SALE, "factor": 2.5}], ["plannedEvents[0].factor", 'write "2.5"']),
    ("spec.plannedEvents", [{**SALE, "begin": "27 Nov"}], ["plannedEvents[0].begin", "date and time, such as"]),
    ("spec.plannedEvents", [{**SALE, "begin": "2026-11-27T24:00"}], ["plannedEvents[0].begin", "date and time"]),
    ("spec.plannedEvents", [{**SALE, "end": "2026-11-31T18:00"}], ["plannedEvents[0].end", "date and time"]),
    (
        "spec.plannedEvents",
        [{**SALE, "end": "2026-11-27T18:00Z"}],
        ["plannedEvents[0].end", "in both of begin and end"],
    ),
    ("spec.plannedEvents", [{**SALE, "end": "2026-11-27T09:00:00"}], ["plannedEvents[0].end", "after begin, which is"]),
    ("spec.plannedEvents", [{**SALE, "end": "2026-12-28T09:01"}], ["plannedEvents[0].end", "at most 31d after begin"]),
    (
        "spec.plannedEvents",
        [{**SALE, "begin": "2026-11-27T09:00+01:00", "end": "2026-11-27T08:00:00Z"}],
        ["plannedEvents[0].end: found 2026-11-27T08:00:00Z; allowed: after begin"],
    ),
    ("spec.plannedEvents", [{**SALE, "ramp": "4h31m"}], ["plannedEvents[0].ramp: found 4h31m; allowed: at most half"]),
    ("spec.plannedEvents", [{**SALE, "factor": None, "like": "Mon"}], ["plannedEvents[0].like", "a date of the years"]),
    (
        "spec.plannedEvents",
        [{**SALE, "factor": None, "like": "2026-11-27"}],
        ["plannedEvents[0].like: found 2026-11-27; allowed: a day before begin, which is 2026-11-27T09:00"],
    ),
    (
        "spec.plannedEvents",
        [{**SALE, "factor": None, "like": "2026-11-28", "begin": "2026-11-27T09:00Z", "end": "2026-11-29T09:00Z"}],
        ["plannedEvents[0].like", "a day before begin"],
    ),
    ("spec.replicas.schedule", [{**OFFICE, "min": None}], ["schedule[0].min: found neither min nor max"]),
    ("spec.replicas.schedule", [{**OFFICE, "max": 2}], ["schedule[0].max: found 2; allowed: at least min, which is 3"]),
    ("spec.replicas.schedule", [{**OFFICE, "min": 11}], ["schedule[0].min: found 11", "which are 1 and 10"]),
    (
        "spec.replicas.schedule",
        [{**OFFICE, "min": 0}],
        ["schedule[0].min: found 0", "from replicas.min to replicas.max"],
    ),
    ("spec.replicas.schedule", [{**OFFICE, "end": "08:00"}], ["schedule[0].end: found 08:00; allowed: another time"]),
    (
        "spec.replicas.schedule",
        [{**OFFICE, "begin": "24:00"}],
        ["schedule[0].begin: found 24:00; allowed: a time before"],
    ),
    ("spec.replicas.schedule", [{**OFFICE, "begin": "8:00"}], ["schedule[0].begin", "a time of day from"]),
    ("spec.replicas.schedule", [{**OFFICE, "end": "24:01"}], ["schedule[0].end", "a time of day from"]),
    ("spec.replicas.schedule", [{**OFFICE, "days": []}], ["schedule[0].days", "at least 1 entries"]),
    ("spec.replicas.schedule", [{**OFFICE, "days": ["Monday"]}], ["schedule[0].days[0]", "'Mon', 'Tue'"]),
    ("spec.replicas.schedule", [{**OFFICE, "days": ["Mon", "Mon"]}], ["schedule[0].days: found Mon a second time"]),
    ("spec.replicas.schedule", [{**OFFICE, "timeZone": "a b"}], ["schedule[0].timeZone", "IANA name"]),
    ("spec.replicas.schedule", [OFFICE, OFFICE], ["spec.replicas.schedule: found name office a second time"]),
    (
        "spec.replicas.schedule",
        [{**OFFICE, "cron": "* * *"}],
        ["schedule[0].cron: found an unknown field; allowed here: name"],
    ),
    # when the load is not known
    ("spec.fallback", {"policy": "static"}, ["spec.fallback.replicas: found nothing; allowed: a count"]),
    ("spec.fallback", {"replicas": 3}, ["spec.fallback.replicas: found 3; allowed: none but with policy static"]),
    (
        "spec.fallback",
        {"policy": "static", "replicas": 11},
        ["spec.fallback.replicas: found 11", "at most replicas.max"],
    ),
    ("spec.fallback", {"policy": "static", "replicas": 0}, ["spec.fallback.replicas", "at least 1"]),
    ("spec.fallback", {"policy": "lower"}, ["spec.fallback.policy", "'hold', 'static' or 'reactive'"]),
    ("spec.fallback", {"after": "2d"}, ["spec.fallback.after: found 2d; allowed: from 0s to 1d"]),
    # what a replica does at a time
    ("spec.replicas.concurrency", 0, ["spec.replicas.concurrency", "at least 1"]),
    (
        "spec.replicas.concurrency",
        4,
        ["spec.replicas.serviceTime: found nothing, so it is concurrency / serviceRate = 13.3"],
    ),
    # how Prometheus lets us in
    ("spec.latency.access", {"usernameFile": "/u"}, ["latency.access.passwordFile: found only one of user name and"]),
    (
        "spec.latency.access",
        {"keyFile": "/k"},
        ["latency.access.certificateFile: found only one of certificate and key"],
    ),
    ("spec.latency.access", {"tokenFile": "hunter2"}, ["access.tokenFile: found something else", "absolute path"]),
    ("spec.latency.access", {"caFile": "/ca"}, ["spec.latency.prometheus: found an http URL; allowed: an https URL"]),
    (
        "spec.latency.access",
        {"tokenFile": "/t", "usernameFile": "/u", "passwordFile": "/p"},
        ["access.tokenFile: found both a token and a user name"],
    ),
    ("spec.latency.access", {"password": "x"}, ["access.password: found an unknown field; allowed here: tokenFile"]),
    # names and closed choices
    ("metadata.name", "Chat", ['metadata.name: found "Chat"', "a Kubernetes name"]),
    ("metadata.name", "a..b", ['found "a..b"', "a Kubernetes name"]),
    ("metadata.namespace", "a.b", ['metadata.namespace: found "a.b"', "a Kubernetes namespace"]),
    ("spec.target.kind", "deployment", ["spec.target.kind", "CamelCase"]),
    ("spec.target.apiVersion", "apps", ["spec.target.apiVersion", "group/version"]),
    ("spec.kafka.bootstrapServers", "kafka", ['found "kafka"', "host:port"]),
    ("spec.kafka.bootstrapServers", ["kafka:9092"], ["found a list; allowed: a string"]),
    ("spec.kafka.topic", "a b", ['found "a b"', "a topic name"]),
    ("spec.kafka.topic", "..", ['found ".."', "a topic name"]),
    ("spec.latency.prometheus", "prometheus:9090", ["an http or https URL"]),
    ("spec.latency.metric", "inference latency", ["a Prometheus metric name"]),
    ("spec.latency.selector", '{app="chat"}', ["label matchers without braces"]),
    ("spec.latency.selector", "app=chat", ["label matchers without braces"]),
    ("spec.mode", "enforce", ['found "enforce"', "'Recommend', 'Floor' or 'Enforce'"]),
    ("spec.forecast", {"model": "arima"}, ["spec.forecast.model", "'levelSeason', 'seasonalNaive' or 'none'"]),
    # the wrong kind of thing
    ("apiVersion", "lagcast.io/v1", ['apiVersion: found "lagcast.io/v1"; allowed: lagcast.io/v1alpha1']),
    ("kind", "ScaledObject", ['kind: found "ScaledObject"; allowed: PredictiveScaler']),
    ("spec", [], ["spec: found a list; allowed: a mapping"]),
    ("spec.kafka", None, ["spec.kafka: found nothing (null); allowed: a mapping"]),
    ("spec.objective", REMOVE, ["spec.objective: found nothing; it must be given"]),
    ("spec.latency.selector", REMOVE, ["spec.latency.selector: found nothing; it must be given"]),
    # Kafka's settings
    ("spec.kafka.properties", {"linger.ms": "5"}, ["properties.linger.ms: found an unknown setting"]),
    ("spec.kafka.properties", {"security.protocol": "TLS"}, ['found "TLS"; allowed: PLAINTEXT, SSL']),
    ("spec.kafka.properties", {"security.protocol": "SASL_SSL"}, ["properties.sasl.password.file: found nothing"]),
    ("spec.kafka.properties", {"ssl.key.location": "/k"}, ["only one of certificate and key"]),
]

WRONG_POOLS: list[tuple[str, Any, list[str]]] = [
    ("spec.provider", {}, ["spec.provider: found none; allowed: exactly one of karpenter, capacityBuffer"]),
    (
        "spec.provider.capacityBuffer",
        {"namespace": "gpu", "name": "warm"},
        ["spec.provider: found karpenter and capacityBuffer; allowed: exactly one of"],
    ),
    ("spec.provider.karpenter", {"nodePool": "H100"}, ["nodePool", "a Kubernetes name"]),
    (
        "spec.provider",
        {"integerField": {"apiVersion": "v1", "kind": "Pool", "name": "p", "path": "spec.size"}},
        ["integerField.path", "a JSON pointer"],
    ),
    ("spec.provider", {"machineDeployment": {"name": "a"}}, ["machineDeployment.namespace", "must be given"]),
    ("spec.provider", {"cloud": {}}, ["spec.provider.cloud: found an unknown field"]),
    ("spec.node.gpus", 0, ["spec.node.gpus: found the number 0; allowed: at least 1"]),
    ("spec.node.selector", {}, ["spec.node.selector", "at least 1 entries"]),
    ("spec.node.selector", {"pool": "a b"}, ["spec.node.selector.pool", "a label's value"]),
    ("spec.node.selector", {"a//b": "c"}, ["spec.node.selector", "a label's name"]),
    ("spec.node.leadTime", "0s", ["spec.node.leadTime: found 0s; allowed: from 1s to 6h"]),
    ("spec.node.idle", "2d", ["spec.node.idle: found 2d; allowed: from 0s to 1d"]),
    ("spec.node.costPerHour", "-3", ["spec.node.costPerHour", "never negative"]),
    ("spec.node.costPerHour", REMOVE, ["spec.budget.costPerHour: found 300; allowed: node.costPerHour as well"]),
    ("spec.nodes", {"min": 3, "max": 2}, ["spec.nodes.max: found 2; allowed: at least min, which is 3"]),
    ("spec.budget", {"gpus": 7}, ["spec.budget.gpus: found 7; allowed: at least the GPUs of nodes.min nodes"]),
    ("spec.budget", {"costPerHour": "31"}, ["spec.budget.costPerHour: found 31; allowed: at least the cost of"]),
    ("spec.mode", "Floor", ["spec.mode", "'Recommend' or 'Enforce'"]),
    ("metadata.namespace", "x", ["metadata.namespace: found an unknown field"]),
]

# (field, its value): each makes another object that is right.
RIGHT: list[tuple[str, Any]] = [
    ("spec.gpu", {"pool": "h100"}),
    ("spec.gpu", {"pool": "h100", "perReplica": 8, "weight": "100"}),
    ("spec.mode", "Floor"),
    ("spec.mode", None),
    ("spec.latency", None),
    ("spec.latency", REMOVE),
    ("spec.replicas.serviceTime", None),
    ("spec.replicas", {"min": 0, "max": 1, "serviceRate": "0.1"}),
    ("spec.replicas", {"min": 10, "max": 10, "serviceRate": "100m"}),
    ("spec.replicas", {"min": 1, "max": 10, "serviceRate": "1M", "serviceTime": "10s"}),
    ("spec.replicas.leadTime", "5h59m59s999ms"),
    ("spec.replicas.scaleInHold", "0s"),
    ("spec.replicas.scaleInHold", "1d"),
    ("spec.objective", {"within": "7d", "share": "99.999999999%"}),
    ("spec.objective", {"within": "3s334ms", "share": "0.000000001%"}),
    ("spec.forecast", {}),
    ("spec.forecast", None),
    ("spec.forecast", {"step": "1m", "season": "7d", "history": "28d", "model": "seasonalNaive"}),
    ("spec.forecast", {"history": "0s", "model": "none"}),
    ("spec.forecast", {"step": "1h", "season": "2h"}),
    ("spec.forecast.timeZone", "America/Argentina/Buenos_Aires"),
    ("spec.forecast.timeZone", "Etc/GMT+5"),
    ("spec.forecast.timeZone", None),
    ("spec.forecast.holidays", []),
    (
        "spec.forecast.holidays",
        [
            {"date": "2028-02-29"},
            {"date": "2026-12-24", "last": "2027-01-23", "like": "Sun", "name": "winter"},
            {"date": "2026-05-01", "last": "2026-05-01", "like": "2026-01-01", "name": None},
        ],
    ),
    ("spec.forecast.holidays", [{"date": f"20{year}-12-25"} for year in range(10, 74)]),
    ("spec.forecast", {"model": "none", "holidays": []}),
    ("spec.plannedEvents", []),
    ("spec.plannedEvents", [SALE, {**SALE, "name": "other", "factor": None, "rate": "0", "ramp": "4h30m"}]),
    ("spec.plannedEvents", [{**SALE, "factor": None, "like": "2025-11-28", "ramp": None}]),
    # There it may be the day after already.
    (
        "spec.plannedEvents",
        [{**SALE, "factor": None, "like": "2026-11-27", "begin": "2026-11-27T22:00Z", "end": "2026-11-27T23:00Z"}],
    ),
    ("spec.plannedEvents", [{**SALE, "end": "2026-12-28T09:00"}]),
    ("spec.plannedEvents", [{**SALE, "end": "2026-11-27T09:00:01", "factor": "1000"}]),
    ("spec.plannedEvents", [{**SALE, "begin": "2026-11-27T09:00+01:00", "end": "2026-11-27T08:00:01Z"}]),
    ("spec.plannedEvents", [{**SALE, "begin": "2026-11-27T09:00:30-14:00", "end": "2026-11-27T23:30-14:00"}]),
    ("spec.replicas.schedule", [OFFICE, {"name": "night", "begin": "22:00", "end": "06:00", "max": 2}]),
    ("spec.replicas.schedule", [{"name": "always", "min": 1, "max": 10}]),
    ("spec.replicas.schedule", [{**OFFICE, "days": None, "begin": None, "end": None, "timeZone": "Asia/Tokyo"}]),
    ("spec.replicas.schedule", [{**OFFICE, "min": 10, "begin": "23:59", "end": "00:00"}]),
    ("spec.fallback", {}),
    ("spec.fallback", {"policy": "static", "replicas": 10, "after": "0s"}),
    ("spec.fallback", {"policy": "reactive", "after": "24h"}),
    ("spec.replicas.concurrency", 3),
    ("spec.replicas", {"min": 1, "max": 10, "serviceRate": "0.3", "concurrency": 100, "serviceTime": "10s"}),
    ("spec.target", {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "a.b-c"}),
    ("spec.kafka.bootstrapServers", "[::1]:9092,kafka-1.kafka.svc:9093"),
    ("spec.kafka.topic", "..."),
    ("spec.kafka.properties", {"security.protocol": "SSL", "ssl.ca.location": "/etc/ca.crt"}),
    (
        "spec.kafka.properties",
        {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username.file": "/u",
            "sasl.password.file": "/p",
        },
    ),
    ("spec.latency.selector", 'app="chat", zone=~"a|b"'),
    ("spec.latency.access", {}),
    ("spec.latency.access", {"usernameFile": "/c/user name", "passwordFile": "/c/p"}),
    (
        "spec.latency",
        {
            "prometheus": "https://prometheus:9090",
            "selector": 'app="chat"',
            "access": {"tokenFile": "/t", "caFile": "/ca", "certificateFile": "/c", "keyFile": "/k"},
        },
    ),
    ("metadata.labels", {"app.kubernetes.io/name": "chat", "empty": ""}),
    ("metadata.annotations", {"lagcast.io/paused": "true", "note": "any text at all"}),
    ("metadata.finalizers", ["example.com/kept"]),
    ("status", {"reason": "Steady"}),
    ("metadata.name", "a" * 100),
]
RIGHT_POOLS: list[tuple[str, Any]] = [
    ("spec.budget", REMOVE),
    ("spec.mode", REMOVE),
    ("spec.node.leadTime", REMOVE),
    ("spec.budget", {"gpus": 8, "costPerHour": "31.2"}),
    ("spec.provider", {"capacityBuffer": {"namespace": "gpu", "name": "warm"}}),
    ("spec.provider", {"machineDeployment": {"namespace": "gpu", "name": "md", "autoscaled": True}}),
    ("spec.provider", {"placeholderPods": {"namespace": "gpu", "name": "placeholder"}}),
    (
        "spec.provider",
        {"integerField": {"apiVersion": "example.com/v1", "kind": "Pool", "name": "p", "path": "/spec/a~1b/min"}},
    ),
]
