"""The faults of the reliability table (docs: operations), one test or more for each row."""
