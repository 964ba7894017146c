"""What several files here start from."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.controller.tick_bench import Bench


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """A controller over stand-ins, by the count that is wanted for each scaler."""
    return lambda **wanted: Bench(wanted)
