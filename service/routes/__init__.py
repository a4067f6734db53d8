"""The routes, thin: decode, ask the dataplane, encode."""
