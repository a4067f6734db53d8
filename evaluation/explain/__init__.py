"""What codes and soft tokens stand for, each statement with what chance alone would say (Table 5, Figure 7)."""
