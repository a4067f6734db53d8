"""Baselines that are no recommender over id fields: each fits and offers `predict(interactions)`."""
