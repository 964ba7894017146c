"""The compiled parts of the simulated cluster: queues, pods and nodes, second by second, over preallocated arrays."""

from pathlib import Path

from forecasting.compiled_before import forget_when_changed

forget_when_changed(Path(__file__).parent)
