"""What is counted of histories: how items are judged, how users judge, and which attributes items have."""
