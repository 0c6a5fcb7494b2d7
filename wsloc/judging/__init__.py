"""Runs held against ground truth: every metric of boxes, maps and masks, and the texts and files that tell them."""
