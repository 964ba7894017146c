"""The image, built and run: started as the Deployment says, it scales a target on the lab's servers by real lag.

No registry is reached: its base is made by debootstrap.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from simulations.lab.docker import Docker, base_image, build_options, engine, what_is_missing
from simulations.lab.errors import StartFailed
from simulations.lab.lab import Lab
from simulations.lab.ports import free_port
from simulations.lab.process import run
from simulations.lab.scenario import Scenario, ScenarioSpec
from tests.lab.test_manifests import rendered
from tests.manifests.checked_in import ROOT

pytestmark = pytest.mark.lab

TAG = "lagcast:test"
LARGEST = 350e6  # bytes, compressed
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
TICK = 15.0  # s, as installed


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(f"\n  {text}", end="", flush=True)  # noqa: T201 - the figures that this test is for


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    required = os.environ.get("LAGCAST_LAB") == "required"
    lacking = "; ".join(what_is_missing())
    if lacking and not required:
        pytest.skip(f"no image can be built: {lacking}")
    assert not lacking, lacking
    try:
        with engine() as running:
            yield running
    except StartFailed as failed:
        if required:
            raise
        pytest.skip(f"no image can be built: {failed}")


@pytest.fixture(scope="module")
def image(docker: Docker) -> str:
    """The controller's image, as `make image` builds it."""
    base = base_image(docker)
    options = f"BUILD={' '.join(build_options())}"
    done = run(["make", "image", f"IMAGE={TAG}", f"BASE={base}", options], directory=ROOT, env=docker.env, timeout=900)
    assert done.code == 0, done.output[-4000:]
    return TAG


def as_the_pod_says(pod: dict[str, Any], account: Path, server: str) -> list[str]:
    """Options of `docker run` for the pod's one container, as a kubelet would start it on the machine's network."""
    (container,) = pod["containers"]
    inner, outer = container["securityContext"], pod["securityContext"]
    assert inner == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert outer["seccompProfile"] == {"type": "RuntimeDefault"}  # Docker's own, when nothing is said
    options = ["--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    options.append(f"--user={outer['runAsUser']}:{outer['runAsGroup']}")
    options.append(f"--memory={container['resources']['limits']['memory'].removesuffix('Mi')}m")
    fields = {"metadata.name": "lagcast-0", "metadata.namespace": "lagcast-system"}
    for variable in container["env"]:
        value = variable.get("value") or fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        options.append(f"--env={variable['name']}={value}")
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        size = volumes[mount["name"]]["emptyDir"]["sizeLimit"].removesuffix("Mi")
        options.append(f"--tmpfs={mount['mountPath']}:exec,mode=0777,size={size}m")
    host, _, port = server.removeprefix("https://").rpartition(":")
    options += [f"--env=KUBERNETES_SERVICE_HOST={host}", f"--env=KUBERNETES_SERVICE_PORT={port}"]
    return [*options, f"--volume={account}:{ACCOUNT}:ro"]


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    """The controller's pod, as the base is rendered."""
    (deployment,) = (item for item in rendered("base") if item["kind"] == "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


@pytest.fixture(scope="module")
def options(lab: Lab, pod: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How the pod's container is started, with the account's token where a kubelet puts it."""
    account = tmp_path_factory.mktemp("account")
    account.chmod(0o755)  # its user is another
    name = pod["serviceAccountName"]
    token = lab.kubernetes.run("create", "token", name, "-n", "lagcast-system", "--duration=1h")
    assert token.code == 0, token.output
    (account / "token").write_text(token.output.strip(), encoding="utf-8")
    (account / "namespace").write_text("lagcast-system", encoding="utf-8")
    (account / "ca.crt").write_bytes((lab.directory / "kubernetes" / "ca.crt").read_bytes())
    return as_the_pod_says(pod, account, lab.kubernetes.server)


def test_it_is_small(docker: Docker, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    # The fastest level: a registry holds less.
    packed = subprocess.run(
        ["sh", "-c", f"docker save {image} | gzip -1 | wc -c"],
        env={**os.environ, **docker.env},
        capture_output=True,
        check=True,
        text=True,
        timeout=300,
    )
    size = int(packed.stdout)
    say(capsys, f"image: {size / 1e6:.0f} MB compressed")
    assert 50e6 < size <= LARGEST


def test_it_has_nothing_to_build_with_and_is_nobody(docker: Docker, image: str) -> None:
    look = (
        "id -u; for p in gcc cc g++ c++ ld make pip pip3 go; do command -v $p; done; ls /opt /src /wheels 2>/dev/null"
    )
    said = docker.must("run", "--rm", "--network=none", "--entrypoint=sh", image, "-c", look + "; true").split()
    assert said == ["65532", "/opt:", "lagcast"]
    assert "PIP_" not in docker.must("history", "--no-trunc", image)


def test_it_writes_only_where_the_pod_lets_it(docker: Docker, image: str, options: list[str]) -> None:
    """Prophet hands data to its optimiser in files, and numba keeps what it compiled."""
    fit = """
import os, pathlib, numpy as np, pandas as pd
from forecasting.models.prophet_import import prophet
days = pd.date_range("2026-01-01", periods=60)
made = prophet.Prophet().fit(pd.DataFrame({"ds": days, "y": np.arange(60.0)}))
assert abs(made.predict(pd.DataFrame({"ds": days[-1:]}))["yhat"].iloc[0] - 59) < 2
from scaler.policies import find_policy
from scaler.warm import EXAMPLE, warm_up
warm_up(find_policy("lagcast", {}), EXAMPLE, 15.0)
assert any(pathlib.Path("/cache").rglob("*.nbc")), "what was compiled is kept"
for path in ("/opt/lagcast/x", "/x", "/var/x"):
    try:
        pathlib.Path(path).touch()
    except OSError:
        continue
    raise SystemExit(f"{path} can be written")
print("fine", os.getuid())
"""
    done = docker.run("run", "--rm", *options, "--entrypoint=python", image, "-c", fit, timeout=300)
    assert done.code == 0, done.output[-3000:]
    assert done.output.split()[-2:] == ["fine", "65532"]


def test_the_bill_of_materials_is_what_is_in_it(docker: Docker, image: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (ROOT / "out" / "sbom.cdx.json").read_text(encoding="utf-8")
    bill = json.loads(text)
    assert bill["bomFormat"] == "CycloneDX"
    wrong = JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"])).validate_str(text)
    assert wrong is None, wrong
    listed = {(c["name"].lower().replace("_", "-"), c["version"]) for c in bill["components"]}
    ask = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
    said = docker.must("run", "--rm", "--network=none", "--entrypoint=python", image, "-c", ask)
    inside = {tuple(line.lower().replace("_", "-").split()) for line in said.splitlines()}
    root = bill["metadata"]["component"]
    assert listed | {(root["name"], root["version"])} == inside
    lock = (ROOT / "requirements" / "controller.lock").read_text(encoding="utf-8")
    for name, version in inside - {("lagcast", root["version"])}:
        assert f"\n{name}=={version} " in f"\n{lock}", f"{name} {version} is not what the lock pins"


def test_its_commands_work_without_what_is_left_out(docker: Docker, image: str) -> None:
    helped = docker.must("run", "--rm", "--network=none", image, "--help")
    assert "run" in helped
    assert "Traceback" not in helped
    assert helped == docker.must("run", "--rm", "--network=none", "--read-only", image, "--help")
    assert "CustomResourceDefinition" in docker.must("run", "--rm", "--network=none", image, "crd")
    lab = docker.run("run", "--rm", "--network=none", image, "lab", "status")
    assert lab.code == 1
    assert "not installed" in lab.output


def test_started_as_the_deployment_says_it_scales_by_real_lag(
    lab: Lab,
    docker: Docker,
    image: str,
    pod: dict[str, Any],
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in ("crd", "base/rbac.yaml"):
        option = "-k" if folder == "crd" else "-f"
        done = lab.kubernetes.run(
            "apply", "--server-side", "--force-conflicts", option, str(ROOT / "manifests" / folder)
        )
        assert done.code == 0, done.output
    spec = ScenarioSpec(name="image", spike=None, mean=25.0, past=240.0, replicas=1, within=10.0, policy=None)
    container = "lagcast-as-deployed"
    address = f"127.0.0.1:{free_port()}"
    # All that is changed: the tests stay on loopback.
    arguments = [address if a == "0.0.0.0:8080" else a for a in pod["containers"][0]["args"]]
    assert address in arguments
    with Scenario(lab, tmp_path, spec) as service:
        done = lab.kubernetes.run("apply", "-f", "-", stdin=json.dumps(service._resource()))
        assert done.code == 0, done.output
        begun = time.monotonic()
        docker.run("rm", "--force", container)
        docker.must("run", "--detach", f"--name={container}", *options, image, *arguments)
        try:
            ready_after = wait_ready(docker, container, f"http://{address}", begun)
            service.send()
            until = time.monotonic() + 6 * TICK
            while (replicas := count(lab)) < 3:
                assert time.monotonic() < until, docker.run("logs", container).output[-3000:]
                time.sleep(1)
            seen = scaler(lab)
            used = docker.must("stats", "--no-stream", "--format={{.MemUsage}}", container).strip()
            stopping = time.monotonic()
            docker.must("stop", "-t", "20", container)
            took = time.monotonic() - stopping
            ended = docker.must("inspect", "--format={{.State.ExitCode}} {{.State.OOMKilled}}", container).split()
            said = docker.run("logs", container).output
        finally:
            docker.run("rm", "--force", container)
            lab.kubernetes.run("delete", "predictivescaler", spec.name, "--wait=false")
    say(capsys, f"image: ready after {ready_after:.1f} s, 1 -> {replicas} replicas, {used}, SIGTERM in {took:.1f} s")
    assert "Traceback" not in said, said[-3000:]
    assert seen["status"], "what was decided stands in the object"
    assert ended == ["0", "false"]
    assert took < 5.0


def wait_ready(docker: Docker, container: str, url: str, begun: float) -> float:
    """Seconds from ``begun`` until it answers that it is ready."""
    while True:
        try:
            if requests.get(f"{url}/readyz", timeout=2).status_code == 200:
                return time.monotonic() - begun
        except requests.RequestException:
            pass
        late = time.monotonic() - begun > 120  # what the startup probe allows
        assert not late, docker.run("logs", container).output[-3000:]
        time.sleep(0.5)


def count(lab: Lab) -> int:
    return int(lab.kubernetes.run("get", "deployment", "image", "-o", "jsonpath={.spec.replicas}").output)


def scaler(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.kubernetes.run("get", "predictivescaler", "image", "-o", "json").output)
    return found
