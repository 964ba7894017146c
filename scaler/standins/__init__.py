"""In-process stand-ins for the broker, Prometheus and the API server; they pass the ports' conformance suites."""
