"""Detectors trained on true boxes or on boxes made from image-level labels."""
