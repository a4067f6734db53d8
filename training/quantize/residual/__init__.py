"""Several codes per facet: k-means of z, then of what the codes before leave."""
