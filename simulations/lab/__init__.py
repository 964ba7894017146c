"""Real Kafka, a real Kubernetes control plane, workers and load, on one machine. An extra; never in the image."""
