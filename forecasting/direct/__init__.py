"""Direct regression of the load to come on features of the load so far, and past error trajectories around it."""
