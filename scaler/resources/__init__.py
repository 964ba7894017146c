"""Scalers that are custom resources: watched in the cluster, run by the controller, their status written back."""
