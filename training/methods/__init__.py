"""Profile methods: from histories to profiles, one folder each."""
