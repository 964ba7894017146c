"""`lagcast bench`: what it refuses, and a cell from the traces."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result

from simulations.commands.bench import bench

Call = Callable[..., Result]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--trace", "nowhere"), "--trace: found nowhere; allowed: azfunc_diurnal, "),
        (("--share", "1"), "--share: found 1.0; allowed: more than 0, less than 1"),
        (("--scenario", "pool", "--trace", "worldcup98"), "--scenario, --trace: found no cell of both"),
        (("--slower", "0"), "--slower"),
    ],
)
def test_wrong_usage(call: Call, options: tuple[str, ...], said: str) -> None:
    result = call(bench, *options)
    assert result.exit_code == 2
    assert said in result.stderr
