"""What a user writes: the custom resources as pydantic models."""
