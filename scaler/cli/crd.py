"""`lagcast crd`: the definitions of Lagcast's custom resources."""

from __future__ import annotations

import json

import click

from scaler.api.crd import KINDS, definition, documents


@click.command()
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
def crd(output: str) -> None:
    """Print the CustomResourceDefinitions, to be installed before the first resource.

    \b
    lagcast crd | kubectl apply --server-side -f -
    Exit codes: 0 printed.
    """
    if output == "json":
        items = [definition(kind) for kind in KINDS]
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1))
        return
    click.echo("---\n".join(documents().values()), nl=False)
