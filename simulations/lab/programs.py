"""The lab's programs: built once, then kept in the user's cache, keyed by version and module files."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from simulations.lab import interrupts
from simulations.lab.errors import BuildFailed
from simulations.lab.process import run
from simulations.lab.requirements import GO, MAVEN, Requirement, locate
from simulations.lab.state import locked

SOURCES = Path(__file__).parent / "programs"
PATIENCE = 3600.0  # s for one build step: a first build on a small machine takes a quarter of an hour
MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
KUBERNETES_VERSION = "1.36.3"
KEDA_VERSION = "2.21.0"
KARPENTER_VERSION = "1.14.0"


class Progress(Protocol):
    """Told what the lab does at the moment, in a few words; it stays in force until the next call."""

    def __call__(self, doing: str) -> None: ...


def silent(doing: str) -> None:
    """A Progress that shows nothing."""


@dataclass(frozen=True, slots=True)
class Program:
    """One build: the module files that pin it, what it needs, and its steps."""

    name: str
    version: str
    files: tuple[str, ...]  # in SOURCES / name
    tool: Requirement
    steps: tuple[tuple[str, Callable[[Path, Path, Path], list[str]]], ...]  # title, (tool, source, target) -> command
    hashes: str = ""  # one of the files, in the form of sha256sum, where the tool itself has no such pins

    @property
    def source(self) -> Path:
        return SOURCES / self.name

    def key(self) -> str:
        """The name of its folder in the cache: it changes when the version or any module file does."""
        digest = hashlib.sha256()
        for file in self.files:
            content = (self.source / file).read_bytes()
            digest.update(f"{file}\0{len(content)}\0".encode() + content)
        digest.update(repr([command(Path("t"), Path("s"), Path("d")) for _, command in self.steps]).encode())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"

    def folder(self) -> Path:
        return cache_directory() / self.key()

    def is_built(self) -> bool:
        return self.folder().is_dir()


def cache_directory() -> Path:
    """Where built programs are kept: the user's cache folder (XDG)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".cache") / "lagcast" / "lab"


def build(program: Program, progress: Progress = silent) -> Path:
    """The folder of the built program, built now if it is not in the cache.

    Raises MissingProgram, BuildFailed, KeyboardInterrupt; nothing half-built is left in the cache.
    """
    folder = program.folder()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    waiting = functools.partial(progress, f"waiting for another build of {program.name}")
    with locked(folder.parent / f"{folder.name}.lock", waiting):
        if folder.is_dir():
            return folder
        tool = locate(program.tool)
        scratch = folder.with_name(f"{folder.name}.building")
        shutil.rmtree(scratch, ignore_errors=True)
        # The tools write beside the module files (go.sum, target/): they work on a copy.
        source = scratch / "source"
        target = scratch / "bin"
        target.mkdir(parents=True)
        shutil.copytree(program.source, source)
        try:
            for number, (title, command) in enumerate(program.steps, 1):
                progress(f"building {title} {program.version} ({number} of {len(program.steps)}, once)")
                _step(program, command(tool, source, target), source, folder.with_name(f"{folder.name}.log"))
            if program.hashes:
                _verify(program, target)
            shutil.rmtree(source)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _step(program: Program, command: list[str], source: Path, log: Path) -> None:
    interrupts.check()
    env = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false", "GOWORK": "off"}
    try:
        done = run(command, directory=source, env=env, timeout=PATIENCE)
    except (OSError, TimeoutError) as error:
        raise BuildFailed(f"{program.name} {program.version} could not be built: {error}") from None
    if done.code != 0:
        log.write_text(f"$ {' '.join(command)}\n{done.output}", encoding="utf-8")
        last = (done.output.strip().splitlines() or ["no output"])[-1]
        raise BuildFailed(
            f"{program.name} {program.version} could not be built ({last}): see {log}; "
            "a first build needs the network, so check it and run the command again"
        )


def _verify(program: Program, target: Path) -> None:
    """Raise BuildFailed unless ``target`` holds exactly the files with the contents that the program's hashes name."""
    wanted = {}
    for line in (program.source / program.hashes).read_text(encoding="utf-8").splitlines():
        digest, name = line.split(maxsplit=1)
        wanted[name] = digest
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in target.iterdir()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise BuildFailed(
            f"{program.name} {program.version} is not what {program.hashes} pins ({wrong[0]}, {len(wrong)} in all): "
            "delete that file from Maven's own store and run the command again; if it is still so, do not use it"
        )


def _go_build(package: str, output: str, flags: str = "") -> Callable[[Path, Path, Path], list[str]]:
    def command(tool: Path, _source: Path, target: Path) -> list[str]:
        return [str(tool), "build", "-ldflags", f"-s -w {flags}".strip(), "-o", str(target / output), package]

    return command


def _maven_copy(tool: Path, _source: Path, target: Path) -> list[str]:
    return [
        str(tool),
        "-B",
        "-q",
        "--strict-checksums",
        MAVEN_COPY,
        f"-DoutputDirectory={target}",
        "-DincludeScope=runtime",
    ]


def _kubernetes_steps() -> tuple[tuple[str, Callable[[Path, Path, Path], list[str]]], ...]:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    stamp = "k8s.io/component-base/version"
    flags = f"-X {stamp}.gitVersion=v{KUBERNETES_VERSION} -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor}"
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    etcd = (("etcd for Kubernetes", _go_build("go.etcd.io/etcd/server/v3", "etcd")),)
    return etcd + tuple((name, _go_build(f"k8s.io/kubernetes/cmd/{name}", name, flags)) for name in names)


GO_FILES = ("go.mod", "go.sum")
KAFKA = Program("kafka", "4.3.1", ("pom.xml", "jars.sha256"), MAVEN, (("Kafka", _maven_copy),), "jars.sha256")
KUBERNETES = Program("kubernetes", KUBERNETES_VERSION, GO_FILES, GO, _kubernetes_steps())
KWOK = Program("kwok", "0.8.0", GO_FILES, GO, (("KWOK", _go_build("sigs.k8s.io/kwok/cmd/kwok", "kwok")),))


def _copied(module: str, *patterns: str, download: bool = False) -> Callable[[Path, Path, Path], list[str]]:
    """CRDs come with the source of a module; ``download`` when nothing of it is built."""
    folder = f'"$("$0" list -m -f "{{{{.Dir}}}}" {module})"'
    copy = f'cp {" ".join(f"{folder}/{pattern}" for pattern in patterns)} "$1"'
    script = f'"$0" mod download {module} && {copy}' if download else copy

    def command(tool: Path, _source: Path, target: Path) -> list[str]:
        return ["sh", "-c", script, str(tool), str(target)]

    return command


def _keda_steps() -> tuple[tuple[str, Callable[[Path, Path, Path], list[str]]], ...]:
    module = "github.com/kedacore/keda/v2"
    flags = f"-X {module}/version.Version={KEDA_VERSION}"
    return (
        ("KEDA's operator", _go_build(f"{module}/cmd/operator", "keda-operator", flags)),
        ("KEDA's adapter", _go_build(f"{module}/cmd/adapter", "keda-adapter", flags)),
        ("KEDA's CRDs", _copied(module, "config/crd/bases/*.yaml")),
    )


KEDA = Program("keda", KEDA_VERSION, GO_FILES, GO, _keda_steps())


def _karpenter_steps() -> tuple[tuple[str, Callable[[Path, Path, Path], list[str]]], ...]:
    module = "sigs.k8s.io/karpenter"
    flags = f"-X {module}/pkg/operator.Version={KARPENTER_VERSION}"
    return (
        ("Karpenter with its KWOK provider", _go_build(f"{module}/kwok", "karpenter", flags)),
        ("Karpenter's CRDs", _copied(module, "pkg/apis/crds/*.yaml", "kwok/apis/crds/*.yaml")),
    )


KARPENTER = Program("karpenter", KARPENTER_VERSION, GO_FILES, GO, _karpenter_steps())
# Its kinds only: what they demand of an object is all that Lagcast meets.
CLUSTER_API = Program(
    "cluster-api",
    "1.14.2",
    GO_FILES,
    GO,
    (
        (
            "Cluster API's CRDs",
            _copied("sigs.k8s.io/cluster-api", "core/config/crd/bases/cluster.x-k8s.io_*.yaml", download=True),
        ),
    ),
)
