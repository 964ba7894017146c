"""The same plan over a simulated cluster, and the lab that runs it on real servers."""
