"""Connection to the API server: configuration, errors, and what must never be in a message."""

from __future__ import annotations

import datetime
import json
import logging
import pwd
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest

from scaler.errors import (
    ConfigError,
    Conflict,
    Forbidden,
    LagcastError,
    TargetError,
    TargetNotFound,
    TargetWithoutScale,
    Unreachable,
)
from scaler.kube import Answer, Expired, KubeClient, connect, failure
from scaler.observe.ports import TargetRef
from tests.cluster.api_server import ApiServer, Asked, Json, status

SECRET = "secret-token"
CHAT = TargetRef("apps/v1", "Deployment", "shop", "chat")
SCALE = "/apis/apps/v1/namespaces/shop/deployments/chat/scale"
APPS = {
    "resources": [
        {"name": "deployments", "kind": "Deployment", "namespaced": True},
        {"name": "deployments/status", "kind": "Deployment", "namespaced": True},
        {"name": "deployments/scale", "kind": "Scale", "namespaced": True},
        {"name": "controllerrevisions", "kind": "ControllerRevision", "namespaced": True},
        {"name": "clusters", "kind": "Cluster", "namespaced": False},
    ]
}


def serve(api: ApiServer, code: int, body: object) -> None:
    def answer(asked: Asked) -> tuple[int, object]:
        return (200, APPS) if asked.path == "/apis/apps/v1" else (code, body)

    api.answer = answer


@pytest.mark.parametrize(
    ("code", "error", "remedy"),
    [
        (401, Forbidden, "kubeconfig or token"),
        (403, Forbidden, "role"),
        (404, TargetNotFound, "namespace"),
        (409, Conflict, ""),
        (410, Expired, ""),
        (429, Unreachable, "again"),
        (500, Unreachable, "again"),
        (503, Unreachable, "again"),
        (400, TargetError, ""),
        (422, TargetError, ""),
    ],
)
def test_each_outcome_is_one_error(code: int, error: type[TargetError], remedy: str) -> None:
    made = failure(Answer(code, {"message": "said the server"}), "read Deployment shop/chat")
    assert type(made) is error
    assert str(made).startswith("cannot read Deployment shop/chat")
    assert remedy in str(made)


def test_a_scale_is_found_by_discovery_once(api: ApiServer, client: KubeClient) -> None:
    serve(api, 200, {"spec": {"replicas": 3}})
    for _ in range(3):
        assert client.scale("GET", CHAT).body == {"spec": {"replicas": 3}}
    assert [a.path for a in api.asked] == ["/apis/apps/v1", SCALE, SCALE, SCALE]
    assert api.asked[1].headers["Authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    ("kind", "error"),
    [("Ghost", TargetNotFound), ("ControllerRevision", TargetWithoutScale), ("Cluster", TargetNotFound)],
)
def test_a_kind_that_cannot_be_scaled_is_looked_up_each_time(
    api: ApiServer, client: KubeClient, kind: str, error: type[TargetError]
) -> None:
    serve(api, 500, {})
    for _ in range(2):
        with pytest.raises(error, match=kind):
            client.scale("GET", TargetRef("apps/v1", kind, "shop", "chat"))
    assert [a.path for a in api.asked] == ["/apis/apps/v1"] * 2


def test_an_unknown_group_is_a_missing_kind(api: ApiServer, client: KubeClient) -> None:
    api.answer = lambda asked: (404, b"404 page not found")
    with pytest.raises(TargetNotFound, match="CRD"):
        client.scale("GET", TargetRef("nowhere.io/v1", "Ghost", "shop", "chat"))


def test_a_missing_object_is_told_from_a_missing_subresource(api: ApiServer, client: KubeClient) -> None:
    serve(api, 404, status(404, 'deployments.apps "chat" not found', details={"name": "chat"}))
    with pytest.raises(TargetNotFound, match='"chat" not found'):
        client.scale("GET", CHAT)
    serve(api, 404, status(404, "the server could not find the requested resource", details={}))
    with pytest.raises(TargetWithoutScale, match="Deployment shop/chat"):
        client.scale("GET", CHAT)
    serve(api, 200, {})
    before = len(api.asked)
    client.scale("GET", CHAT)  # the kind is looked up again
    assert api.asked[before].path == "/apis/apps/v1"


def test_an_answer_that_is_no_json_is_still_an_answer(api: ApiServer, client: KubeClient) -> None:
    api.answer = lambda asked: (200, b"<html>")
    assert client.call("GET", "/odd") == Answer(200, {})
    api.answer = lambda asked: (502, b"bad gateway")
    with pytest.raises(Unreachable, match="HTTP 502"):
        client.get("/odd", "read it")


def test_nobody_listening_is_unreachable_and_quick(tmp_path: Path, api: ApiServer) -> None:
    kubeconfig = api.kubeconfig(tmp_path)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        kubeconfig.write_text(kubeconfig.read_text().replace(api.url, f"http://127.0.0.1:{port}"))
    client = connect(kubeconfig, timeout=1.0)
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port} does not answer"):
        client.call("GET", "/api/v1")


def test_a_server_that_accepts_and_says_nothing_is_unreachable_in_time(tmp_path: Path, api: ApiServer) -> None:
    kubeconfig = api.kubeconfig(tmp_path)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        kubeconfig.write_text(kubeconfig.read_text().replace(api.url, f"http://127.0.0.1:{silent.getsockname()[1]}"))
        client = connect(kubeconfig, timeout=0.2)
        began = time.monotonic()
        with pytest.raises(Unreachable, match="does not answer"):
            client.call("GET", "/api/v1")
        assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "file is empty"),
        ("users: [{name: u, user: {token: secret-token\n  : }", "no valid YAML at line"),
        ("just text with secret-token", "cannot be read"),
        ("current-context: nowhere\ncontexts: []\nusers: []\nclusters: []", "nowhere"),
        (None, "No configuration found"),
    ],
)
def test_a_wrong_kubeconfig_is_refused_by_name_without_its_content(
    tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=said) as refused:
        connect(path)
    assert str(path) in str(refused.value)
    assert "check" in str(refused.value) or "line" in str(refused.value), "and what to do"
    assert SECRET not in str(refused.value)


def test_without_a_home_folder_a_missing_kubeconfig_is_still_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> NoReturn:
        raise KeyError("uid not found")

    for name in ("HOME", "KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(ConfigError, match=r"~/\.kube/config.*--kubeconfig"):
        connect()


@pytest.mark.parametrize("token", [f"{SECRET}\nX-Other: 1", f"{SECRET}-é漢"])
def test_a_token_that_no_header_can_hold_is_not_in_the_message(tmp_path: Path, api: ApiServer, token: str) -> None:
    client = connect(api.kubeconfig(tmp_path, token))
    with pytest.raises(LagcastError) as refused:
        client.call("GET", "/api/v1")
    assert "check the token" in str(refused.value)
    shown: BaseException | None = refused.value
    while shown is not None:  # also not in what a traceback would show
        assert SECRET not in str(shown)
        shown = None if shown.__suppress_context__ else shown.__context__


def test_a_token_with_a_newline_at_its_end_is_used(tmp_path: Path, api: ApiServer) -> None:
    client = connect(api.kubeconfig(tmp_path, f"{SECRET}\n"))
    client.call("GET", "/api/v1")
    assert api.asked[0].headers["Authorization"] == f"Bearer {SECRET}"
    client.close()


def test_the_token_is_in_no_log(
    tmp_path: Path, api: ApiServer, client: KubeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.answer = lambda asked: (401, status(401, "Unauthorized"))
    with pytest.raises(Forbidden) as refused:
        client.get("/api/v1", "look")
    assert SECRET not in caplog.text + str(refused.value)


def test_a_service_account_token_is_read_again(tmp_path: Path, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.config import incluster_config

    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    authority.write_text("unused: the test server speaks plain HTTP")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    host, port = api.url.removeprefix("http://").split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    original = incluster_config.InClusterConfigLoader._set_config

    def plain_http(loader: object, configuration: object) -> None:
        original(loader, configuration)
        configuration.host = api.url  # type: ignore[attr-defined]
        configuration.ssl_ca_cert = None  # type: ignore[attr-defined]
        loader.token_expires_at -= datetime.timedelta(minutes=2)  # type: ignore[attr-defined]

    monkeypatch.setattr(incluster_config.InClusterConfigLoader, "_set_config", plain_http)
    client = connect()
    client.call("GET", "/api/v1")
    token.write_text("second")
    client.call("GET", "/api/v1")
    client.call("GET", "/api/v1")
    client.close()
    sent = [a.headers["Authorization"] for a in api.asked]
    assert sent[-1] == "bearer second"
    assert "bearer first" in sent


@pytest.mark.slow
def test_only_the_transport_is_imported() -> None:
    program = (
        "import sys, pathlib, scaler.kube\n"
        "assert not any(m.startswith('kubernetes') for m in sys.modules), 'imported before it is used'\n"
        "try: scaler.kube.connect(pathlib.Path('/nonexistent'))\n"
        "except scaler.kube.ConfigError: pass\n"
        "print(sum(m.startswith('kubernetes.client.models.') for m in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10


def test_json_only(api: ApiServer, client: KubeClient) -> None:
    body: Json = {"a": [1, None, "é"]}
    api.answer = lambda asked: (200, {"echo": asked.body, "type": asked.headers["Content-Type"]})
    answer = client.call("PATCH", "/x", body=body, content_type="application/json-patch+json")
    assert answer.body == json.loads(json.dumps({"echo": body, "type": "application/json-patch+json"}))
