"""Prometheus: scrapes, every second, whatever targets are written as JSON files into one folder."""

from __future__ import annotations

import urllib.error
import urllib.request

from simulations.lab import ports
from simulations.lab.part import Server, Site
from simulations.lab.programs import Program, Progress
from simulations.lab.requirements import PROMETHEUS, Requirement, locate

CONFIG = """\
global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: lab
    honor_labels: true  # a worker names its own pod
    file_sd_configs:
      - files: ["file_sd/*.json"]
        refresh_interval: 1s
"""


class PrometheusPart:
    """Part "prometheus"."""

    name = "prometheus"
    needs: tuple[str, ...] = ()
    port_names = ("prometheus",)
    programs: tuple[Program, ...] = ()
    requirements: tuple[Requirement, ...] = (PROMETHEUS,)

    def prepare(self, site: Site, progress: Progress) -> None:
        home = site.folder("prometheus")
        site.folder("prometheus/file_sd")
        (home / "prometheus.yml").write_text(CONFIG, encoding="utf-8")

    def servers(self, site: Site) -> tuple[Server, ...]:
        home = site.directory / "prometheus"
        port = site.ports["prometheus"]
        command = (
            str(locate(PROMETHEUS)),
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'data'}",
            "--storage.tsdb.retention.time=1y",
            f"--web.listen-address={ports.HOST}:{port}",
        )
        return (
            Server("prometheus", self.name, command, ready=lambda: answers_ok(f"http://{ports.HOST}:{port}/-/ready")),
        )

    def finish(self, site: Site, progress: Progress) -> None:
        """Nothing is left to do."""

    def endpoints(self, site: Site) -> dict[str, str]:
        return {
            "url": f"http://{ports.HOST}:{site.ports['prometheus']}",
            "file_sd": str(site.directory / "prometheus" / "file_sd"),
        }


def answers_ok(url: str) -> str | None:
    """None when ``url`` (plain http, on loopback) answers with success; else what it did instead."""
    # No proxy from the environment: loopback is not behind it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"{url} answers {error.code}"
    except OSError as error:
        return f"{url}: {error}"
