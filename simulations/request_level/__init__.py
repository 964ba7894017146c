"""Single requests, each with its own arrival and service time: bounded queues, refusals, batches, late replicas.

Beside the kernel that counts in seconds, for what that one cannot say: each request's latency, a queue of fifty.

    setting.py   services, how a replica serves what it holds, the total that they share
    tables.py    the kernel's state
    kernel.py    compiled: one service's events, in order of time
    station.py   one service between two decisions: start and stop replicas, let time pass, read the counters
    run.py       services, policy and budget together; what the policy is shown
    record.py    what a run leaves, and what it comes to
"""
