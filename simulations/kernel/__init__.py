"""The compiled parts of the simulated cluster: queues, pods and nodes, second by second, over preallocated arrays."""
