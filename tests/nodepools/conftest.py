"""Failures of the shared suite are to show values."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.nodepools.conformance")
