"""Runs judged against ground truth: every metric of boxes, maps and masks, as text and files."""
