"""Makes what is checked in of dashboards, alerts and the metrics' reference: `python -m manifests.generate`.

Dashboards are in the classic form, which the sidecar of the usual Helm charts loads; the SDK prefers a newer one.
"""
