"""Detectors trained on boxes, be they true or made from image-level labels."""
