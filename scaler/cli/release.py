"""`lagcast release`: floors put back, without the controller."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from scaler.act import release as floors_back
from scaler.act.finalizer import FINALIZER, PLURAL, ClusterFinalizers
from scaler.act.floor import Autoscaler
from scaler.act.floors import KubernetesFloors
from scaler.act.nodepools import marks
from scaler.act.nodepools.raised import may_hold
from scaler.act.nodepools.release import holders
from scaler.act.nodepools.release import release as release_pools
from scaler.act.order import ScalerRef
from scaler.act.release import Released, Wanted
from scaler.api.gpu_node_pool import POOL_KIND, PoolMode
from scaler.api.pause import PAUSED
from scaler.api.predictive_scaler import API_VERSION, Mode
from scaler.cli.units import SCALER
from scaler.clock import SystemClock
from scaler.errors import LagcastError, TargetError
from scaler.kube import Json, KubeClient, connect, failure
from scaler.pools.endings import PLURAL as POOLS
from scaler.pools.endings import PoolFinalizers, ref_of, unknown
from scaler.pools.sweep import costs_off

OVERDUE = 120.0  # s after which a deletion that waits is not the controller's any more: it does not run


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one object."""

    object: str
    owner: str
    floor: int | None
    value: int | None  # what stands there afterwards; None: nothing
    note: str = ""
    fault: str = ""


@click.command()
@click.argument("scaler", metavar="[NAMESPACE/NAME]", type=SCALER, required=False)
@click.option("--all", "everything", is_flag=True, help="Every floor of all namespaces, and of all GpuNodePools.")
@click.option("--expired", is_flag=True, help="Only floors that nobody renewed: what the CronJob runs.")
@click.option("--dry-run", is_flag=True, help="The API server checks each change, and drops it.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: the pod's ServiceAccount, or kubectl's.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def release(
    scaler: tuple[str, str] | None,
    everything: bool,
    expired: bool,
    dry_run: bool,
    kubeconfig: Path | None,
    output: str,
) -> None:
    """Put back what was raised: of one PredictiveScaler, of all scalers and GpuNodePools, or where it has expired.

    What stood there before is on the autoscalers themselves, so the controller need not run. One that does run raises
    the floor again at its next tick: pause the scaler first, change its mode, or delete it. Values that somebody else
    has changed since are left as they are. The finalizer of the scalers and pools is taken off, too, with --expired
    from those that are being deleted, so that nothing waits for a controller that is not there. With --all, what was
    written on pods and Machines so that they go first is taken off as well.

    \b
    Exit codes: 0 all that was asked for is put back, or there was nothing; 1 something could not be (the line says
    why); 2 wrong usage.
    """
    if [scaler is not None, everything, expired].count(True) != 1:
        raise click.UsageError("give one of NAMESPACE/NAME, --all and --expired")
    now = SystemClock().now()
    try:
        kube = connect(kubeconfig)
        lines = _release(kube.dry() if dry_run else kube, scaler, expired, now, dry_run=dry_run)
    except LagcastError as error:
        raise click.ClickException(str(error)) from error
    if output == "json":
        click.echo(json.dumps([asdict(line) for line in lines], indent=1))
    else:
        _show(lines, dry_run)
    sys.exit(1 if any(line.fault for line in lines) else 0)


def _release(kube: KubeClient, name: tuple[str, str] | None, expired: bool, now: float, *, dry_run: bool) -> list[Line]:
    scalers, pools = _scalers(kube, name), [] if name is not None else _pools(kube)
    overdue = {str(item["metadata"]["uid"]) for item in scalers if _deleted_for(item, now) >= OVERDUE}
    if name is not None:
        wanted: Wanted = floors_back.of_name(*name)
    elif expired:
        wanted = _expired_or_of(overdue, now)
    else:
        wanted = floors_back.all_floors
    floors, namespace = KubernetesFloors(kube), "" if name is None else name[0]
    lines = [_line(one) for one in floors_back.release(floors, namespace, wanted)]
    if name is None:
        late = frozenset(_owner(item) for item in pools if _deleted_for(item, now) >= OVERDUE)
        lines += [
            Line(pool.what, pool.owner, pool.held, pool.value, fault=pool.fault)
            for pool in release_pools(kube, expired_only=expired, now=now, also=late)
        ]
        # At once, before all that takes longer: a controller that runs raises them again.
        ending = [item for item in pools if _guarded(item) and (not expired or _owner(item) in late)]
        lines += _unguard_pools(kube, ending, {one.owner for one in lines if one.fault}, dry_run=dry_run)
        lines += [] if expired else _costs(kube)
    held = {one.mark.uid for one in floors.autoscalers(namespace) if one.mark is not None}
    failed = {one.owner for one in lines if one.fault}
    for item in scalers:
        if _guarded(item) and not (expired and _deleted_for(item, now) < 0):
            lines += _unguard(ClusterFinalizers(kube), item, held, failed, expired=expired)
    if not expired:
        _warn(scalers)
        _warn_pools(pools)
    return lines


def _expired_or_of(uids: set[str], now: float) -> Wanted:
    past = floors_back.expired(now)
    return lambda found: past(found) or (found.mark is not None and found.mark.uid in uids)


def _unguard(
    finalizers: ClusterFinalizers, item: Json, held: set[str], failed: set[str], *, expired: bool
) -> list[Line]:
    """Take one scaler's finalizer off, when nothing of its own is left."""
    metadata = item["metadata"]
    scaler = ScalerRef(str(metadata["namespace"]), str(metadata["name"]), str(metadata["uid"]))
    owner = f"{scaler.namespace}/{scaler.name}"
    if owner in failed or (expired and scaler.uid in held):
        return []
    return [_taken_off(finalizers, scaler, owner)]


def _unguard_pools(kube: KubeClient, pools: list[Json], failed: set[str], *, dry_run: bool) -> list[Line]:
    """Take the pools' finalizers off. In a dry run all that was raised still stands."""
    if not pools:
        return []
    try:
        again: frozenset[str] = frozenset() if dry_run else holders(kube)
    except TargetError as error:
        return [Line(POOL_KIND, "", None, None, fault=str(error))]
    return [_unguard_pool(kube, item, again) for item in pools if _owner(item) not in failed]


def _unguard_pool(kube: KubeClient, item: Json, again: frozenset[str]) -> Line:
    """Take one pool's finalizer off, with the note of what it raised, unless it has raised something ``again``."""
    ref, owner = ref_of(item), _owner(item)
    if owner in again:
        fault = f"a running controller has raised it again: its finalizer stays; pause it first ({_to_pause(ref.name)})"
        return Line(str(ref), owner, None, None, fault=fault)
    if may_hold(item) is None:
        return Line(str(ref), owner, None, None, fault=unknown(ref.name))
    return _taken_off(PoolFinalizers(kube), ref, owner)


def _taken_off(finalizers: ClusterFinalizers, ref: ScalerRef, owner: str) -> Line:
    try:
        finalizers.take_off(ref)
    except TargetError as error:
        return Line(str(ref), owner, None, None, fault=str(error))
    return Line(str(ref), owner, None, None, note=f"its finalizer {FINALIZER} is taken off")


def _costs(kube: KubeClient) -> list[Line]:
    """Deletion costs that stand on pods, and which nobody would take off any more."""
    try:
        for _ in costs_off(kube, [""], lambda uid: False):
            pass
    except TargetError as error:
        return [Line("Pods", "", None, None, fault=str(error))]
    return []


def _scalers(kube: KubeClient, name: tuple[str, str] | None) -> list[Json]:
    """The PredictiveScalers; none where the kind is not there (any more)."""
    items = _every(kube, "" if name is None else f"namespaces/{name[0]}/", PLURAL, "PredictiveScalers")
    return [item for item in items if name is None or item["metadata"]["name"] == name[1]]


def _pools(kube: KubeClient) -> list[Json]:
    """The GpuNodePools; as ``_scalers``."""
    return _every(kube, "", POOLS, "GpuNodePools")


def _every(kube: KubeClient, within: str, plural: str, kind: str) -> list[Json]:
    answer = kube.call("GET", f"/apis/{API_VERSION}/{within}{plural}")
    if answer.code == 404:
        return []
    if not answer.ok:
        raise failure(answer, f"list {kind}")
    return list(answer.body.get("items") or [])


def _guarded(item: Json) -> bool:
    return FINALIZER in (item["metadata"].get("finalizers") or ())


def _owner(pool: Json) -> str:
    """As the pool's marks have it."""
    return marks.owner(str(pool["metadata"]["name"]))


def _deleted_for(item: Json, now: float) -> float:
    """Seconds since its deletion was asked for; negative when it was not."""
    asked = item["metadata"].get("deletionTimestamp")
    return -1.0 if not asked else max(now - datetime.fromisoformat(str(asked)).timestamp(), 0.0)


def _line(one: Released) -> Line:
    found: Autoscaler = one.found
    owner = "?" if found.mark is None else found.mark.scaler
    note = "" if one.fault else one.note
    return Line(str(found), owner, found.least, found.least if one.fault else one.after, note, one.fault)


def _warn(scalers: list[Json]) -> None:
    for item in scalers:
        spec, metadata = item.get("spec") or {}, item["metadata"]
        if spec.get("mode") == Mode.FLOOR and not metadata.get("deletionTimestamp"):
            who = f"{metadata['namespace']}/{metadata['name']}"
            click.echo(
                f"PredictiveScaler {who} is in mode Floor: a running controller raises its floor again at its next "
                f"tick, unless it is paused (`lagcast pause {who}`)",
                err=True,
            )


def _warn_pools(pools: list[Json]) -> None:
    for item in pools:
        metadata = item["metadata"]
        held = metadata.get("deletionTimestamp") or PAUSED in (metadata.get("annotations") or {})
        if (item.get("spec") or {}).get("mode") == PoolMode.ENFORCE and not held:
            click.echo(
                f"GpuNodePool {metadata['name']} is in mode Enforce: a running controller raises its count again at "
                f"its next tick, unless it is paused ({_to_pause(metadata['name'])})",
                err=True,
            )


def _to_pause(pool: str) -> str:
    return f"kubectl annotate gpunodepool {pool} {PAUSED}=true"


def _show(lines: list[Line], dry_run: bool) -> None:
    if not lines:
        click.echo("there is no floor to put back")
        return
    table = Table("OBJECT", "OWNER", "FLOOR", "WOULD BE" if dry_run else "NOW", "NOTE")
    for line in lines:
        cells = ("-" if value is None else str(value) for value in (line.floor, line.value))
        table.add_row(line.object, line.owner, *cells, line.fault or line.note)
    Console().print(table)
