"""What the evidence of a certificate is worth, computed with fractions and recursion, sharing nothing with the checker.

It reads the fields of a `Certificate`, not its bytes, and has no filter: slow and plain.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import oracle

from convexrml import Vote

IN, OUT, DUAL, COUNT = range(4)


class InvalidError(Exception):
    """The evidence is no proof of any radius."""


def closing(certificate, instance, pairs, sides):
    """``(gap, ‖w‖_q)`` of multipliers, the norm raised to `oracle.power`; w vanishes for a radius without end."""
    z, norm = oracle.rational(certificate.query), certificate.norm.order
    gap, w = Fraction(0), np.array([Fraction(0)] * len(z), dtype=object)
    for j, i, weight in pairs:
        xi, xj, weight = instance.X[i], instance.X[j], Fraction(weight)
        gap += weight * ((z - xj) @ instance.M @ (z - xj) - (z - xi) @ instance.M @ (z - xi))
        w = w + 2 * weight * (instance.M @ (xi - xj))
    if math.isinf(certificate.lower):
        sides = dict.fromkeys(range(len(z)), math.inf)
    for f, value in sides.items():
        push = -w[f] if math.isinf(value) else Fraction(value)
        side = math.inf
        if certificate.box is not None:
            side = float((certificate.box.upper if push > 0 else certificate.box.lower)[f])
        if push and math.isinf(side):
            raise InvalidError("an open side")
        w[f] += push
        gap -= push * (Fraction(side) - z[f]) if push else 0
    return gap, oracle.dual_power(w, norm)


def reach(certificate, instance, pairs, sides):
    """The largest radius for which multipliers close a case, raised to `oracle.power`; inf if they do for all."""
    gap, length = closing(certificate, instance, pairs, sides)
    if gap <= 0:
        raise InvalidError("the gap is not positive")
    return gap ** oracle.power(certificate.norm.order) / length if length else math.inf


def may_lose(certificate, instance, inside, outside):
    """Whether k points, all those inside and none of those outside among them, can lose the vote: lists all numbers."""
    k, label = certificate.n_neighbors, certificate.label
    ranges = []
    for c in sorted({label, *instance.y}):
        members = [i for i, of in enumerate(instance.y) if of == c]
        ranges.append([(c, n) for n in range(sum(i in inside for i in members), len(members) + 1)
                       if n <= sum(i not in outside for i in members)])  # fmt: skip
    for numbers in map(dict, itertools.product(*ranges)):
        own = numbers.pop(label)
        if own + sum(numbers.values()) == k:
            rival = max(numbers.values(), default=-1)
            if own < k - own if certificate.vote is Vote.MAJORITY else own <= rival:
                return True
    return False


def supported(certificate, instance):
    """The largest radius that the evidence proves, raised to `oracle.power`."""
    proof, s = certificate.proof, (certificate.n_neighbors + 1) // 2
    own = np.array([label == certificate.label for label in instance.y])
    n, opened = len(own), sorted(set(proof.open.tolist()))
    if any(not 0 <= j < n or own[j] for j in opened):
        raise InvalidError("open")
    swept = [j for j in range(n) if not own[j] and j not in opened]
    if proof.sweep.shape != (len(swept), s) and (len(swept) or proof.sweep.size):
        raise InvalidError("sweep")
    reached = [math.inf]
    for j, row in zip(swept, proof.sweep.tolist(), strict=True):
        if len(set(row)) != s or any(not 0 <= i < n or not own[i] for i in row):
            raise InvalidError("sweep")
        reached += [reach(certificate, instance, [(j, i, 1.0)], {}) for i in row]
    records, args, values = iter(proof.ops.tolist()), iter(proof.args.tolist()), iter(proof.values.tolist())

    def node(inside, outside):
        op = next(records)
        if op in (IN, OUT):
            i = next(args)
            if not 0 <= i < n or i in inside | outside or not (own[i] or i in opened):
                raise InvalidError("branch")
            for goes_in in (op == IN, op == OUT):
                node(inside | {i} if goes_in else inside, outside if goes_in else outside | {i})
        elif op == DUAL:
            m, sides = next(args), next(args)
            J, K, features = ([next(args) for _ in range(count)] for count in (m, m, sides))
            lam, v = [next(values) for _ in range(m)], [next(values) for _ in range(sides)]
            if any(not 0 <= weight < math.inf for weight in lam) or len(set(features)) != max(sides, 0):
                raise InvalidError("multipliers")
            if any(not 0 <= f < len(certificate.query) for f in features) or any(not x > -math.inf for x in v):
                raise InvalidError("sides")
            if not set(J) <= inside or set(K) & inside or not set(K) <= set(range(n)):
                raise InvalidError("unknown")
            if any(may_lose(certificate, instance, inside | {i}, outside) for i in set(K) - outside):
                raise InvalidError("may be inside")
            pairs = list(zip(J, K, lam, strict=True))
            reached.append(reach(certificate, instance, pairs, dict(zip(features, v, strict=True))))
        elif op == COUNT:
            if may_lose(certificate, instance, inside, outside):
                raise InvalidError("count")
        else:
            raise InvalidError("record")

    try:
        node(frozenset(), frozenset(swept))
    except (StopIteration, RuntimeError) as error:
        raise InvalidError("ends early") from error
    if any(True for rest in (records, args, values) for _ in rest):
        raise InvalidError("goes on")
    return min(reached)


def holds(certificate, instance):
    """Whether the evidence proves `lower`."""
    if certificate.lower == 0:
        return True
    try:
        return certificate.proof is not None and oracle.at_most(
            certificate.lower, supported(certificate, instance), certificate.norm.order
        )
    except InvalidError:
        return False


def largest_float(radius, norm):
    """The largest float whose power is at most the rational `radius`."""
    value = oracle.as_float(radius, norm)
    while not oracle.at_most(value, radius, norm):
        value = math.nextafter(value, -math.inf)
    while oracle.at_most(math.nextafter(value, math.inf), radius, norm):
        value = math.nextafter(value, math.inf)
    return value
