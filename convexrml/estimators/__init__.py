"""Fitted scikit-learn classifiers as nearest-neighbour classifiers under a Mahalanobis metric of their inputs."""
