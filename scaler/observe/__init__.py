"""From Kafka, Prometheus and Kubernetes to readings. Each reading says how far it can be trusted."""
