"""What the lab writes for its servers: certificates, kubeconfigs, settings, nodes, annotations, stages, rights."""

from __future__ import annotations

import datetime
import json
import uuid
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder, Store

from simulations.lab.certificates import write_all
from simulations.lab.endpoints import Prometheus
from simulations.lab.kafka import KafkaPart, new_cluster_id, settings
from simulations.lab.kubernetes import KubernetesPart, rbac_manifest
from simulations.lab.kwok import GONE_AFTER, GPU, READY_AFTER, READY_BY, STAGES, gpu_node, pod_annotations
from simulations.lab.part import Site
from simulations.lab.programs import silent
from simulations.lab.prometheus import CONFIG

NOW = datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC)


class TestCertificates:
    def test_the_servers_certificate_is_good_for_loopback(self, tmp_path: Path) -> None:
        write_all(tmp_path, NOW)
        authority = x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
        server = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes())
        verifier = (
            PolicyBuilder()
            .store(Store([authority]))
            .time(NOW + datetime.timedelta(days=365))
            .build_server_verifier(x509.DNSName("localhost"))
        )
        assert verifier.verify(server, []) == [server, authority]
        names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]

    def test_keys_match_and_are_the_owners(self, tmp_path: Path) -> None:
        write_all(tmp_path, NOW)
        server = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes())
        key = serialization.load_pem_private_key((tmp_path / "server.key").read_bytes(), None)
        assert key.public_key() == server.public_key()
        signer = serialization.load_pem_private_key((tmp_path / "sa.key").read_bytes(), None)
        assert signer.public_key() == serialization.load_pem_public_key((tmp_path / "sa.pub").read_bytes())
        assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in ("server.key", "sa.key"))

    def test_they_are_made_once(self, tmp_path: Path) -> None:
        write_all(tmp_path, NOW)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        write_all(tmp_path, NOW)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_half_a_set_is_made_anew(self, tmp_path: Path) -> None:
        (tmp_path / "ca.crt").write_text("half")
        write_all(tmp_path, NOW)
        x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())


class TestKubeconfigs:
    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        site = Site(tmp_path, {name: 15_000 + number for number, name in enumerate(KubernetesPart.port_names)})
        KubernetesPart().prepare(site, silent)
        return site

    def test_each_user_has_a_token_of_its_own(self, site: Site) -> None:
        home = site.directory / "kubernetes"
        tokens = set()
        for name in ("lab-admin", "kube-controller-manager", "kube-scheduler", "kwok"):
            content = yaml.safe_load((home / f"{name}.kubeconfig").read_text())
            assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:15002"
            tokens.add(content["users"][0]["user"]["token"])
        assert len(tokens) == 4
        assert min(map(len, tokens)) >= 32
        rows = (home / "tokens.csv").read_text()
        assert all(token in rows for token in tokens)

    def test_a_second_preparation_keeps_the_tokens(self, site: Site) -> None:
        before = (site.directory / "kubernetes" / "tokens.csv").read_bytes()
        KubernetesPart().prepare(site, silent)
        assert (site.directory / "kubernetes" / "tokens.csv").read_bytes() == before


class TestRights:
    def test_only_the_verbs_that_are_used(self) -> None:
        objects = {each["kind"]: each for each in yaml.safe_load_all(rbac_manifest().read_text())}
        roles = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
        assert set(objects) == {"Namespace", "ServiceAccount"} | roles
        allowed = {
            (resource, verb)
            for each in yaml.safe_load_all(rbac_manifest().read_text())
            if each["kind"] == "ClusterRole"
            for rule in each.get("rules", ())  # none in the one that takes up those of providers
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
        assert not any("*" in pair for pair in allowed)
        assert not any(resource in ("secrets", "configmaps", "pods/exec") for resource, _ in allowed)
        writes = {(resource, verb) for resource, verb in allowed if verb not in ("get", "list", "watch")}
        scales = {("deployments/scale", "patch"), ("statefulsets/scale", "patch")}
        statuses = {("predictivescalers/status", "patch"), ("gpunodepools/status", "patch")}
        floors = {("horizontalpodautoscalers", "patch"), ("scaledobjects", "patch")}
        floors |= {("predictivescalers", "patch"), ("gpunodepools", "patch")}  # a finalizer
        assert writes == scales | statuses | floors | {("pods", "patch"), ("events", "create"), ("events", "patch")}

    def test_one_lease_and_nothing_else_of_the_namespace(self) -> None:
        (role,) = (each for each in yaml.safe_load_all(rbac_manifest().read_text()) if each["kind"] == "Role")
        assert {resource for rule in role["rules"] for resource in rule["resources"]} == {"leases"}
        assert role["rules"][0]["resourceNames"] == ["lagcast"]
        assert [rule["verbs"] for rule in role["rules"]] == [["get", "update"], ["create"]]


class TestPods:
    def test_both_ends_of_a_lead_time_are_always_given(self) -> None:
        assert pod_annotations(4) == {READY_AFTER: "4000ms", READY_BY: "4000ms", GONE_AFTER: "1000ms"}
        assert pod_annotations(1.5, 2.25, 0) == {READY_AFTER: "1500ms", READY_BY: "2250ms", GONE_AFTER: "0ms"}

    @pytest.mark.parametrize("times", [(-1, None, 1), (2, 1, 1), (1, 2, -1)])
    def test_impossible_times(self, times: tuple[float, float | None, float]) -> None:
        with pytest.raises(ValueError, match="ready_after"):
            pod_annotations(*times)

    def test_the_stages_read_these_annotations(self) -> None:
        text = (STAGES / "pod.yaml").read_text()
        assert all(name in text for name in (READY_AFTER, READY_BY, GONE_AFTER))

    def test_the_stages_are_complete(self) -> None:
        stages = [each for path in sorted(STAGES.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]
        assert {each["kind"] for each in stages} == {"Stage"}
        names = [each["metadata"]["name"] for each in stages]
        assert names == ["node-ready", "node-heartbeat", "pod-start", "pod-ready", "pod-gone"]

    def test_a_node_offers_its_gpus(self) -> None:
        node = json.loads(json.dumps(gpu_node("gpu-0", 8)))
        assert node["status"]["allocatable"][GPU] == node["status"]["capacity"][GPU] == "8"
        assert node["metadata"]["labels"]["kubernetes.io/hostname"] == node["metadata"]["name"] == "gpu-0"


class TestSettings:
    def test_a_cluster_id_never_looks_like_an_option(self) -> None:
        dashed, plain = uuid.UUID(int=0xF8 << 120), uuid.UUID(int=0x01 << 120)
        drawn = iter([dashed, dashed, plain])
        assert new_cluster_id(lambda: next(drawn)) == "AQAAAAAAAAAAAAAAAAAAAA"
        assert next(drawn, None) is None
        assert len(new_cluster_id()) == 22

    def test_the_broker_keeps_the_past_and_answers_at_once(self, tmp_path: Path) -> None:
        text = settings(Site(tmp_path, {name: 15001 + n for n, name in enumerate(KafkaPart.port_names)}))
        values = dict(line.split("=", 1) for line in text.splitlines())
        assert values["log.retention.ms"] == "-1"
        assert values["group.initial.rebalance.delay.ms"] == "0"
        assert values["auto.create.topics.enable"] == "false"
        assert values["group.min.session.timeout.ms"] == "1000"
        assert int(values["log.message.timestamp.before.max.ms"]) > 365 * 86_400_000
        plain = ["PLAINTEXT://127.0.0.1:15001", "CONTROLLER://127.0.0.1:15002"]
        secure = ["TLS://127.0.0.1:15003", "MTLS://127.0.0.1:15004", "SCRAM://127.0.0.1:15005"]
        assert values["listeners"].split(",") == plain + secure
        assert values["advertised.listeners"].split(",") == [plain[0], *secure]
        assert values["authorizer.class.name"].endswith("StandardAuthorizer")
        assert values["super.users"] == "User:ANONYMOUS", "who logs in has no right that is not given"
        assert "allow.everyone.if.no.acl.found" not in values
        assert values["log.dirs"].startswith(str(tmp_path))

    def test_prometheus_scrapes_every_second(self) -> None:
        config = yaml.safe_load(CONFIG)
        assert config["global"]["scrape_interval"] == "1s"
        assert config["scrape_configs"][0]["file_sd_configs"][0]["refresh_interval"] == "1s"

    def test_targets_are_one_file_for_each_name(self, tmp_path: Path) -> None:
        class Nobody:
            def stop(self, *servers: str) -> None: ...

            def start(self, *servers: str) -> None: ...

            def server_names(self) -> list[str]:
                return []

        prometheus = Prometheus(Nobody(), tmp_path, url="http://127.0.0.1:1", file_sd=str(tmp_path))
        prometheus.add_targets("workers", ["127.0.0.1:1"])
        path = prometheus.add_targets("workers", ["127.0.0.1:2", "127.0.0.1:3"], {"app": "w"})
        assert [each.name for each in tmp_path.iterdir()] == ["workers.json"]
        expected = [{"targets": ["127.0.0.1:2", "127.0.0.1:3"], "labels": {"app": "w"}}]
        assert json.loads(path.read_text()) == expected
