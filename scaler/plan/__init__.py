"""From an observation to a decision. Pure: no I/O, no clock, randomness only from (uid, tick)."""
