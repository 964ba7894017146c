"""The Lagcast controller, in the order in which data flows through it: api, observe, plan, act."""
