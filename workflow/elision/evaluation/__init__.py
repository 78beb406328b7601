"""Evaluation: predictions under every condition, and their metrics."""
