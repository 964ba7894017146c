"""Connection to the API server, shared by observe and act: authentication, raw JSON over HTTP, discovery, errors.

Only the transport of the ``kubernetes`` package is imported (35 MB); its models would be another 115 MB.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import urllib3
import yaml

from scaler.errors import (
    ConfigError,
    Conflict,
    Forbidden,
    NotLeader,
    Silent,
    TargetError,
    TargetNotFound,
    TargetWithoutScale,
    Unreachable,
)
from scaler.kube_stream import Stream

Json = dict[str, Any]

MANAGER = "lagcast"
"""The field manager of all that is written: the API server takes it from the User-Agent, up to a slash."""

CONNECT_TIMEOUT = 1.5  # s; an API server that does not accept within this is as good as gone for a tick
READ_TIMEOUT = 5.0  # s
CONNECTIONS_KEPT = 64  # one watch each, and the calls of a tick beside them


@dataclass(frozen=True, slots=True)
class Content:
    """In which form the objects of a collection are asked for: the Accept headers of its list and of its watch."""

    listed: str
    watched: str


JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
WHOLE = Content(JSON, JSON)
# Without spec and status, where the server can; a pod template's environment may hold secrets, and most of the bytes.
METADATA = Content(
    f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{JSON}",
    f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}",
)


class Expired(TargetError):
    """The resource version of a list or watch is too old (410 Gone): list anew (the watch)."""


class Fence(Protocol):
    """Says whether a change may be sent now: a replica that does not lead changes nothing."""

    @property
    def patience(self) -> float:
        """s after which the API server is to give a change up."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Around one change, from before it is sent until its answer. Raises NotLeader on entry."""
        ...

    def check(self) -> None:
        """Just before the change's content is sent. Raises NotLeader."""
        ...

    def unsure(self) -> None:
        """Within ``writing``: the answer does not say whether the change was made, or may still be."""
        ...


class NamedObject(Protocol):
    """An object (``scaler.observe.ports.TargetRef`` is one); its namespace is empty when its kind has none."""

    @property
    def api_version(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered: HTTP code and the JSON object (empty when it was no JSON object)."""

    code: int
    body: Json

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 300

    @property
    def unsure(self) -> bool:
        """Of a change: whether it may have been made, or may still be. What answers for the server has given it up, or
        lost sight of it: a time-out (504), a store that is slow (500), a balancer in between (502, 503)."""
        return self.code >= 500 or self.code == 408

    @property
    def message(self) -> str:
        return str(self.body.get("message", "")) or f"HTTP {self.code}"

    @property
    def names_object(self) -> bool:
        """A 404 about an object names it; a 404 about a kind or subresource does not."""
        details = self.body.get("details")
        return isinstance(details, dict) and bool(details.get("name"))


@dataclass(frozen=True, slots=True)
class Resource:
    """Where the objects of one kind are found."""

    prefix: str  # "/apis/apps/v1"
    plural: str
    namespaced: bool
    scale: bool  # it has a /scale subresource

    def collection(self, namespace: str) -> str:
        """Path of all objects of a namespace; ``""``: of the cluster."""
        return f"{self.prefix}/namespaces/{quote(namespace, safe='')}/{self.plural}" if namespace else self.everywhere

    @property
    def everywhere(self) -> str:
        """Path of all objects of the cluster."""
        return f"{self.prefix}/{self.plural}"

    def path(self, namespace: str, name: str, subresource: str = "") -> str:
        """Path of one object."""
        path = f"{self.collection(namespace)}/{quote(name, safe='')}"
        return f"{path}/{subresource}" if subresource else path


def failure(answer: Answer, doing: str) -> TargetError:
    """The exception for an answer that is no success. ``doing`` reads on from "cannot": "read Deployment a/b"."""
    said = f"cannot {doing}: {answer.message}"
    if answer.code == 429 or answer.code >= 500:
        return Unreachable(f"{said} (HTTP {answer.code}); it is tried again")
    by_code: dict[int, TargetError] = {
        401: Forbidden(f"cannot {doing}: the API server refuses the credentials; check the kubeconfig or token"),
        403: Forbidden(f"{said}; grant it to the controller's role"),
        404: TargetNotFound(f"{said}; check the name and the namespace"),
        409: Conflict(said),
        410: Expired(said),
    }
    return by_code.get(answer.code, TargetError(said))


class KubeClient:
    """Raw JSON requests to one API server. Safe to share between threads."""

    def __init__(
        self, configuration: Any, *, connect_timeout: float = CONNECT_TIMEOUT, read_timeout: float = READ_TIMEOUT
    ) -> None:
        """``configuration`` is a ``kubernetes.client.configuration.Configuration``; timeouts in s."""
        from kubernetes.client.rest import RESTClientObject  # 35 MB: only where a cluster is used

        configuration.connection_pool_maxsize = CONNECTIONS_KEPT
        configuration.keep_alive = True
        self._configuration = configuration
        self._agent = MANAGER
        self._pool = RESTClientObject(configuration).pool_manager
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._resources: dict[tuple[str, str], Resource] = {}
        self._lock = threading.Lock()
        self._fence: Fence | None = None
        self._dry = False

    def dry(self) -> KubeClient:
        """The same client, whose changes the API server checks, answers as if they were made, and drops."""
        made = copy.copy(self)
        made._dry = True
        return made

    def fenced(self, fence: Fence, instance: str = "") -> KubeClient:
        """The same client, which changes something only where ``fence`` lets it, and says as which ``instance``.

        The fence is asked before a request and again when only its content is left to be sent: connected, with the
        headers gone. From there on the API server's own deadline runs (``timeout``), so that a process which is stopped
        right here, and goes on later, sends its content to a request that is no more.
        """
        made = copy.copy(self)  # the connections and what was discovered are shared
        made._fence = fence
        made._agent = f"{MANAGER}/{instance}" if instance else self._agent
        return made

    @property
    def read_timeout(self) -> float:
        """Longest wait for an answer (s)."""
        return self._read_timeout

    @property
    def host(self) -> str:
        """URL of the API server."""
        return str(self._configuration.host)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        read_timeout: float | None = None,
    ) -> Answer:
        """One request, whatever its HTTP outcome. Raises Silent when there was no answer, and of a ``fenced``
        client NotLeader when it would change something and may not.
        """
        fence = None if method == "GET" else self._fence
        with contextlib.nullcontext() if fence is None else fence.writing():
            response = self._send(
                method, path, query, body, content_type, accept, read_timeout or self._read_timeout, fence
            )
            try:
                raw = response.data
            except (urllib3.exceptions.HTTPError, OSError) as broken:
                raise Silent(self._silent(broken)) from None
            finally:
                response.release_conn()
            answer = _answer(response.status, raw)
            if fence is not None and answer.unsure:
                fence.unsure()
        return answer

    def get(
        self,
        path: str,
        doing: str,
        *,
        query: Mapping[str, str | int] | None = None,
        accept: str = JSON,
        read_timeout: float | None = None,
    ) -> Json:
        """GET; raises as ``failure`` says. ``doing`` reads on from "cannot"."""
        answer = self.call("GET", path, query=query, accept=accept, read_timeout=read_timeout)
        if not answer.ok:
            raise failure(answer, doing)
        return answer.body

    def stream(
        self,
        path: str,
        doing: str,
        *,
        query: Mapping[str, str | int],
        read_timeout: float,
        silence: float,
        accept: str = JSON,
    ) -> Stream:
        """A response read line by line: ``read_timeout`` (s) for its headers, ``silence`` (s) between lines."""
        response = self._send("GET", path, query, None, "", accept, read_timeout)
        if response.status != 200:
            try:
                raw = response.data
            except (urllib3.exceptions.HTTPError, OSError):
                raw = b""
            response.release_conn()
            raise failure(_answer(response.status, raw), doing)
        socket = getattr(response.connection, "sock", None)
        if socket is not None:  # headers had to come at once, lines may take longer
            socket.settimeout(silence)
        return Stream(response, doing)

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where a kind is found, by API discovery; remembered. Raises TargetNotFound for an unknown kind."""
        known = self._resources.get((api_version, kind))
        if known is not None:
            return known
        prefix = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        answer = self.call("GET", prefix)
        if not answer.ok and answer.code != 404:
            raise failure(answer, f"look up {kind} of {api_version}")
        listed = [r for r in answer.body.get("resources", []) if isinstance(r, dict)]
        plural = next((r["name"] for r in listed if r.get("kind") == kind and "/" not in r.get("name", "/")), None)
        if plural is None:
            raise TargetNotFound(
                f"the API server has no kind {kind} in {api_version}; check apiVersion and kind, or install its CRD"
            )
        namespaced = any(r.get("name") == plural and r.get("namespaced") for r in listed)
        scale = any(r.get("name") == f"{plural}/scale" for r in listed)
        found = Resource(prefix, plural, namespaced, scale)
        if scale:  # a kind without /scale is looked up again: its CRD may gain one
            with self._lock:
                self._resources[(api_version, kind)] = found
        return found

    def object_path(self, target: NamedObject) -> str:
        """Path of an object."""
        return self.resource(target.api_version, target.kind).path(target.namespace, target.name)

    def scale(
        self,
        method: str,
        target: NamedObject,
        *,
        body: Any = None,
        content_type: str = "",
        read_timeout: float | None = None,
    ) -> Answer:
        """A request on the target's /scale; a success, or a code that is neither 401, 403, 404, 429 nor 5xx.

        Raises TargetNotFound, TargetWithoutScale, Forbidden or Unreachable.
        """
        what = f"{target.kind} {'/'.join(filter(None, (target.namespace, target.name)))}"
        resource = self.resource(target.api_version, target.kind)
        if resource.namespaced != bool(target.namespace):
            is_one = "is a namespaced kind" if resource.namespaced else "is not a namespaced kind"
            raise TargetNotFound(f"cannot scale {what}: {target.kind} {is_one}")
        without = TargetWithoutScale(
            f"cannot scale {what}: {target.kind} of {target.api_version} has no /scale subresource; "
            "choose a target that has one (Deployment, StatefulSet, or a CRD that declares subresources.scale)"
        )
        if not resource.scale:
            raise without
        path = resource.path(target.namespace, target.name, "scale")
        answer = self.call(method, path, body=body, content_type=content_type, read_timeout=read_timeout)
        if answer.code == 404 and not answer.names_object:
            with self._lock:  # the kind is served no more, or no longer with a scale
                self._resources.pop((target.api_version, target.kind), None)
            raise without
        if answer.code in (401, 403, 404, 429) or answer.code >= 500:
            doing = "read the scale of" if method == "GET" else "scale"
            raise failure(answer, f"{doing} {what}")
        return answer

    def close(self) -> None:
        """Close all connections that are idle."""
        self._pool.clear()

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None,
        body: Any,
        content_type: str,
        accept: str,
        read_timeout: float,
        fence: Fence | None = None,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": accept, "User-Agent": self._agent}
        content: bytes | Iterator[bytes] | None = None if body is None else json.dumps(body).encode()
        if self._dry and method != "GET":
            query = {**(query or {}), "dryRun": "All"}
        if fence is not None:
            whole = content if isinstance(content, bytes) else b"{}"  # something to hold back: no options for a DELETE
            query = {**(query or {}), "timeout": f"{math.floor(fence.patience * 1000)}ms"}
            read_timeout = min(read_timeout, fence.patience)
            headers["Content-Length"] = str(len(whole))
            content = _checked(whole, fence)
        url = self.host + path + (f"?{urlencode(query)}" if query else "")
        if content is not None:
            headers["Content-Type"] = content_type
        try:
            token = self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
            if token:
                headers["Authorization"] = str(token).strip()
            response: urllib3.BaseHTTPResponse = self._pool.request(
                method,
                url,
                headers=headers,
                body=content,
                timeout=urllib3.Timeout(connect=self._connect_timeout, read=read_timeout),
                retries=False,
                preload_content=False,
            )
        except NotLeader:  # within the request, which urllib3 has then broken off
            raise
        except (urllib3.exceptions.HTTPError, OSError) as broken:
            raise Silent(self._silent(broken)) from None
        except Exception as broken:  # noqa: BLE001  (a token file gone or odd: the message would quote the token)
            raise Silent(
                f"cannot ask the API server {self.host}: the credentials cannot be used ({type(broken).__name__}); "
                "check the token in the kubeconfig or of the service account"
            ) from None
        return response

    def _silent(self, broken: Exception) -> str:
        why = type(broken).__name__
        if isinstance(broken, urllib3.exceptions.SSLError):
            why = "its certificate is not trusted; check the certificate authority in the kubeconfig"
        return f"the API server {self.host} does not answer ({why}); it is tried again"


def _answer(code: int, raw: bytes) -> Answer:
    try:
        parsed = json.loads(raw)
    except ValueError:
        parsed = {}
    return Answer(code, parsed if isinstance(parsed, dict) else {})


def _checked(content: bytes, fence: Fence) -> Iterator[bytes]:
    fence.check()
    yield content


def connect(kubeconfig: Path | None = None, *, context: str | None = None, timeout: float = READ_TIMEOUT) -> KubeClient:
    """From a kubeconfig file; without one from the pod's service account, else from $KUBECONFIG or ~/.kube/config.

    ``timeout`` (s) bounds each request. Raises ConfigError naming the file.
    """
    from kubernetes.client.configuration import Configuration
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.incluster_config import load_incluster_config
    from kubernetes.config.kube_config import load_kube_config

    configuration = Configuration()
    load: Any = load_incluster_config  # Any: the package's loaders carry no types
    options: Json = {"client_configuration": configuration}
    where = "the pod's service account"
    if kubeconfig is not None or not os.environ.get("KUBERNETES_SERVICE_HOST"):
        # os.path: without a home, as containers may be, it leaves the ~ as it stands, and the file is not found.
        file = str(kubeconfig or os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config"))  # noqa: PTH111
        load = load_kube_config
        options |= {"config_file": file, "context": context, "persist_config": False}
        where = f"kubeconfig {file}"
    try:
        load(**options)
    except ConfigException as wrong:
        raise ConfigError(f"{where}: {wrong}; check --kubeconfig or $KUBECONFIG and the files it names") from None
    except yaml.YAMLError as wrong:
        # The parser's own message quotes the file, and with it perhaps a token.
        mark = getattr(wrong, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{where}: no valid YAML{line}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as wrong:
        raise ConfigError(f"{where}: cannot be read ({type(wrong).__name__}); check the file") from None
    return KubeClient(configuration, connect_timeout=min(CONNECT_TIMEOUT, max(timeout, 0.5)), read_timeout=timeout)
