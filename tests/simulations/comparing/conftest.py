"""Traces that are read where a test names none of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def pool_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Days 0 to 19 of the pool's traces and of another; one of the pool's ends with day 13, another is silent on
    day 6, so that those from 10 on have three sound days before them."""
    for name in ("azfunc_diurnal", "azfunc_bursty", "servegen_llm_large", "worldcup98"):
        rates = np.full((14 if name == "servegen_llm_large" else 20) * 24, 100)
        if name == "azfunc_bursty":
            rates[6 * 24 : 7 * 24] = 0
        rows = [f"{3600 * k},{value}" for k, value in enumerate(rates)]
        (tmp_path / f"{name}__3600s.csv").write_text("\n".join(["t_s,value", *rows]) + "\n")
    monkeypatch.setenv("LAGCAST_TRACES", str(tmp_path))
    return tmp_path
