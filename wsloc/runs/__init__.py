"""Runs on disk: folders, results part by part, resuming after a kill, reading them back."""
