"""`lagcast pause` and `lagcast resume`: the annotations that hold a scaler."""

from __future__ import annotations

import json
from pathlib import Path

import click

from scaler.act.finalizer import path_of
from scaler.act.order import ScalerRef
from scaler.api.pause import MOST, PAUSED, PAUSED_REPLICAS, PAUSED_SCALE_IN, PAUSES
from scaler.cli.units import SCALER
from scaler.errors import LagcastError
from scaler.kube import MERGE_PATCH, connect, failure

_KUBECONFIG = click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: as kubectl's.")
_OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.command()
@click.argument("scaler", metavar="NAMESPACE/NAME", type=SCALER)
@click.option("--replicas", type=click.IntRange(0, MOST), help="Bring the target to this count, and hold it there.")
@click.option("--scale-in", is_flag=True, help="Hold scaling in only.")
@_KUBECONFIG
@_OUTPUT
def pause(scaler: tuple[str, str], replicas: int | None, scale_in: bool, kubeconfig: Path | None, output: str) -> None:
    """Hold a PredictiveScaler: without an option, nothing is changed; it is decided and reported all the same.

    It takes the place of a pause that was there before. The count of --replicas may be below spec.replicas.min, never
    above max; in mode Floor it is the floor that is held there. A floor that is held does not expire.

    \b
    Exit codes: 0 it is paused; 1 no such scaler, or the API server refused or did not answer; 2 wrong usage.
    """
    if replicas is not None and scale_in:
        raise click.UsageError("give one of --replicas and --scale-in: a held count is not scaled in either")
    if replicas is not None:
        wanted = {PAUSED_REPLICAS: str(replicas)}
    else:
        wanted = {PAUSED_SCALE_IN if scale_in else PAUSED: "true"}
    _annotate(scaler, wanted, kubeconfig, output, "paused")


@click.command()
@click.argument("scaler", metavar="NAMESPACE/NAME", type=SCALER)
@_KUBECONFIG
@_OUTPUT
def resume(scaler: tuple[str, str], kubeconfig: Path | None, output: str) -> None:
    """Take every pause off a PredictiveScaler.

    \b
    Exit codes: 0 it is not paused; 1 no such scaler, or the API server refused or did not answer; 2 wrong usage.
    """
    _annotate(scaler, {}, kubeconfig, output, "not paused")


def _annotate(scaler: tuple[str, str], wanted: dict[str, str], kubeconfig: Path | None, output: str, so: str) -> None:
    namespace, name = scaler
    patch = {"metadata": {"annotations": {each: wanted.get(each) for each in PAUSES}}}
    try:
        client = connect(kubeconfig)
        path = path_of(ScalerRef(namespace, name, ""))
        answer = client.call("PATCH", path, body=patch, content_type=MERGE_PATCH)
        if not answer.ok:
            raise failure(answer, f"annotate PredictiveScaler {namespace}/{name}")
    except LagcastError as error:
        raise click.ClickException(str(error)) from error
    if output == "json":
        click.echo(json.dumps({"namespace": namespace, "name": name, "annotations": wanted}))
        return
    said = ", ".join(f'{each}: "{value}"' for each, value in wanted.items())
    click.echo(f"PredictiveScaler {namespace}/{name} is {so}{f' ({said})' if said else ''}")
