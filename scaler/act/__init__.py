"""From a decision to patches and Events."""
