"""The release format, written and read in one place: manifest, items, golden requests, allowed graphs."""
