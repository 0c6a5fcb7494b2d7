"""Learning over the whole set: what images that share a label know together of where its objects are."""
