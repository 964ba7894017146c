"""Pools of GPU nodes from the cluster to the plan and back: who shares one, its limits, what is seen and written."""
