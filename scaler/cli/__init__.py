"""The command's shell. Commands come from the entry point group ``lagcast.commands``; nothing is imported by name."""
