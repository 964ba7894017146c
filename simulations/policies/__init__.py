"""Policies to compare with, one file each, behind the same protocol as Lagcast's own."""
