"""Corruption: which positions of a sample are missing, and the test conditions."""
