"""Where jobs run, one file each, behind simulations.executor."""
