"""Training a classifier from image-level labels alone; true boxes are not opened anywhere here.

Nothing is imported here, so that the settings are there before torch is.
"""
