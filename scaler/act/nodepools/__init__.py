"""GPU node pools: what is asked for, and the patches that change it; one file a provider."""
