"""A Docker engine for the image: one that runs is used; else one is started, as root, and ended by its id.

Where no registry can be reached, the image's base is made by debootstrap and imported.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from simulations.lab import interrupts, state
from simulations.lab.errors import BuildFailed, StartFailed
from simulations.lab.process import Finished, Mark, end, find, run, spawn
from simulations.lab.programs import Progress, cache_directory, silent
from simulations.lab.requirements import Requirement, locate, missing

DOCKER = Requirement(
    "Docker", "docker", ("--version",), r"Docker version (\d+)\.(\d+)", (20, 10), "install the Debian package docker.io"
)
DOCKERD = Requirement(
    "Docker's engine", "dockerd", ("--version",), r"version (\d+)\.(\d+)", (20, 10), "install the package docker.io"
)
DEBOOTSTRAP = Requirement(
    "debootstrap",
    "debootstrap",
    ("--version",),
    r"debootstrap (\d+)\.(\d+)",
    (1, 0),
    "install the Debian package debootstrap",
)

SUITE = "bookworm"  # Python 3.11
PACKAGES = ("python3", "python3-venv", "ca-certificates")
BASE = f"lagcast-base:{SUITE}"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
LEFT = ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt/archives", "var/lib/apt/lists")  # out
PATIENCE = 60.0  # s for the engine to answer
BUILD_PATIENCE = 1800.0  # s


def what_is_missing() -> list[str]:
    """One sentence for each thing without which no image can be built here; empty when all is there."""
    sentences = missing((DOCKER,))
    if not sentences and _answers(Docker(host=None)) is not None:
        sentences = missing((DOCKERD,))
    if os.geteuid() != 0:
        sentences.append("debootstrap, and an engine of our own, need root")
    return sentences + missing((DEBOOTSTRAP,))


@dataclass(frozen=True, slots=True)
class Docker:
    """The client of one engine. ``host``: its socket's URL; None for the usual one."""

    host: str | None

    @property
    def env(self) -> dict[str, str]:
        """What a program that calls the client is to have in its environment."""
        # Not BuildKit: it is a program of its own that Debian's package lacks.
        return {"DOCKER_BUILDKIT": "0"} | ({} if self.host is None else {"DOCKER_HOST": self.host})

    def run(self, *arguments: str, directory: Path | None = None, timeout: float = 60.0) -> Finished:
        """Run one command to its end. Raises OSError, TimeoutError."""
        program = str(locate(DOCKER))
        return run([program, *arguments], directory=directory or Path.cwd(), env=self.env, timeout=timeout)

    def must(self, *arguments: str, directory: Path | None = None, timeout: float = 60.0) -> str:
        """What the command printed. Raises BuildFailed, with the last lines, when it failed."""
        done = self.run(*arguments, directory=directory, timeout=timeout)
        if done.code != 0:
            last = "\n".join(done.output.strip().splitlines()[-15:])
            raise BuildFailed(f"`docker {arguments[0]}` failed:\n{last}")
        return done.output

    def has(self, image: str) -> bool:
        """Whether the engine has the image."""
        return self.run("image", "inspect", "--format", "{{.Id}}", image).code == 0


@contextlib.contextmanager
def engine(progress: Progress = silent) -> Iterator[Docker]:
    """An engine, for as long as the context lasts. Its images are kept in the user's cache. Raises StartFailed."""
    usual = Docker(host=None)
    if _answers(usual) is None:
        yield usual
        return
    home = cache_directory() / "docker"
    home.mkdir(parents=True, exist_ok=True)
    with (
        state.locked(home / "lock", functools.partial(progress, "waiting for another engine")),
        tempfile.TemporaryDirectory(prefix="lagcast-docker-") as scratch,  # short: a socket's path is at most 107 long
    ):
        mark, docker = _start(home, Path(scratch))
        try:
            progress("starting Docker's engine")
            _wait(mark, docker, home / "log")
            yield docker
        finally:
            end(mark, grace=30.0)  # it ends its containers, and containerd
            _unmount(Path(scratch))


def _start(home: Path, scratch: Path) -> tuple[Mark, Docker]:
    host = f"unix://{scratch / 'socket'}"
    (scratch / "daemon.json").write_text("{}", encoding="utf-8")
    command = [
        str(locate(DOCKERD)),
        f"--host={host}",
        f"--data-root={home / 'data'}",
        f"--exec-root={scratch / 'run'}",
        f"--pidfile={scratch / 'pid'}",
        f"--config-file={scratch / 'daemon.json'}",  # not the machine's own: that is for another engine
        # Containers use the machine's own network: nothing of it is changed.
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--log-level=warn",
    ]
    return spawn(command, log=home / "log", directory=home), Docker(host)


def _unmount(folder: Path) -> None:
    """Let go of what an engine leaves mounted below ``folder``: the network of containers on the machine's own."""
    lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    for point in sorted((line.split()[1] for line in lines), reverse=True):
        if point.startswith(f"{folder}/"):
            run(["umount", "--lazy", point], directory=folder)


def _wait(mark: Mark, docker: Docker, log: Path) -> None:
    wrong: str | None = None
    for _ in range(round(PATIENCE / 0.5)):
        wrong = _answers(docker)
        if wrong is None:
            return
        if find(mark) is None:
            wrong = "it ended"
            break
        interrupts.pause(0.5)
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    reason = f"; it said last: {last[0][-400:]}" if last else ""  # such as: no cgroups
    raise StartFailed(f"Docker's engine does not answer ({wrong}){reason}: see {log}")


def _answers(docker: Docker) -> str | None:
    try:
        done = docker.run("version", "--format", "{{.Server.Version}}", timeout=10.0)
    except (OSError, TimeoutError) as error:
        return str(error)
    return None if done.code == 0 else done.output.strip().splitlines()[-1]


def base_image(docker: Docker, progress: Progress = silent) -> str:
    """The name of a base image with Python, made now if the engine has none. Raises BuildFailed.

    It trusts the certificates that this machine trusts, so that pip in it reaches what pip reaches here.
    """
    if docker.has(BASE):
        return BASE
    progress(f"making {BASE} with debootstrap (once)")
    with tempfile.TemporaryDirectory(prefix="lagcast-base-") as scratch:
        root, archive = Path(scratch) / "root", Path(scratch) / "root.tar"
        command = [str(locate(DEBOOTSTRAP)), "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)]
        mirror = _mirror()
        done = run(command + ([mirror] if mirror else []), directory=Path(scratch), timeout=BUILD_PATIENCE)
        if done.code != 0:
            raise BuildFailed(f"debootstrap failed: {done.output.strip()[-500:]}")
        if Path(CERTIFICATES).is_file():
            shutil.copyfile(CERTIFICATES, root / CERTIFICATES.lstrip("/"))
        for left in LEFT:
            shutil.rmtree(root / left, ignore_errors=True)
        packed = run(["tar", "-C", str(root), "-cf", str(archive), "."], directory=Path(scratch), timeout=300.0)
        if packed.code != 0:
            raise BuildFailed(f"tar failed: {packed.output.strip()[-500:]}")
        docker.must("import", str(archive), BASE, timeout=300.0)
    return BASE


def _mirror() -> str:
    """Where this machine gets Debian's packages from; empty: debootstrap's own default."""
    asked = ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)", "Identifier: Packages"]
    try:
        lines = run(asked, directory=Path.cwd()).output.splitlines()
    except OSError:
        return ""
    return next((line.split()[0] for line in lines if line.split()[1:] == [SUITE]), "")


def build_options() -> list[str]:
    """Options of `docker build` with which pip, in a build on `base_image`, finds what pip finds here."""
    asked = {name: os.environ[name] for name in ("PIP_INDEX_URL", "PIP_TRUSTED_HOST") if os.environ.get(name)}
    asked["PIP_CERT"] = CERTIFICATES
    return ["--network=host", *(f"--build-arg={name}={value}" for name, value in asked.items())]
