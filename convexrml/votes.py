"""What it takes to change a k-nearest-neighbour classifier's answer: the two notions, and how ties count in both."""

from __future__ import annotations

import enum

from convexrml.errors import InvalidInputError


class Vote(enum.Enum):
    """When a query's label has lost the vote among the k nearest training points (k odd, ``s = (k + 1) / 2``).

    **Ties.**  All ties count against the label, in both notions.  Training points at equal distance may be ordered in
    any way: a vote is lost if it is lost in *one* of these orders.  A label that merely shares the most votes has lost.
    So the set of points at which a vote is lost is closed, and a radius is attained.

    A vote that the classifier's own prediction loses is lost here too, so a misclassified query has radius 0.  A
    majority is lost wherever a plurality is: the majority's radius never exceeds the plurality's.  They are the same
    for two classes and for k ≤ 3.
    """

    MAJORITY = "majority"
    """At least s of the k nearest carry another label than the query's.  The closed-form bound bounds this one."""

    PLURALITY = "plurality"
    """Some other label has at least as many votes among the k nearest: what a k-NN classifier says."""


def as_vote(vote: str | Vote) -> Vote:
    """Read a vote from ``"majority"`` or ``"plurality"``.

    Raises
    ------
    InvalidInputError
        If it is anything else.
    """
    try:
        return Vote(vote)
    except ValueError:
        known = ", ".join(repr(member.value) for member in Vote)
        raise InvalidInputError(f"vote: choose from {known}; found {vote!r}") from None


def same_vote(n_neighbors: int, n_classes: int) -> bool:
    """Whether majority and plurality are one: a label with s − 1 votes then leaves another with as many."""
    return n_neighbors <= 3 or n_classes <= 2
