"""Why a count is what it is: one tick's facts, and the stages that led from them to the decision (pure)."""
