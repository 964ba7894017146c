"""Forecasting families, one file each."""
