"""Makes what is checked in of dashboards, alerts and the metrics' reference: `python -m manifests.generate`."""
