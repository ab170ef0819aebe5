"""Learners of a Mahalanobis metric, with scikit-learn's interface."""
