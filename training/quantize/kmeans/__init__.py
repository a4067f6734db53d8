"""One code per facet: k-means of z, and codebooks that can follow moving profiles."""
