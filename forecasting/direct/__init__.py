"""Direct regression of the load to come on features of the load so far, and past error trajectories around it."""

from pathlib import Path

from forecasting.compiled import forget_when_changed

forget_when_changed(Path(__file__).parent)
