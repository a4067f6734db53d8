"""The paper's claims, tested: controls, intervals and the report."""
