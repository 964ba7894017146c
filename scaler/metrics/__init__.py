"""What the controller publishes of itself: the list of its metrics, and the figures that are counted over time."""
