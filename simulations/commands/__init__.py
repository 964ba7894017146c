"""`lagcast simulate`, `compare`, `tune` and `bench`: what a user asks of the simulations."""
