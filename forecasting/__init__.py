"""Arrivals in, sample paths out. Usable on its own; knows nothing of Kafka or Kubernetes."""

from pathlib import Path

from forecasting.compiled_before import forget_when_changed

forget_when_changed(Path(__file__).parent)
