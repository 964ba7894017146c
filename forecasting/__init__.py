"""Arrivals in, sample paths out. Usable on its own; knows nothing of Kafka or Kubernetes."""
