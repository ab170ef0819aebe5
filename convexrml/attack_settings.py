"""Which attack of which tool, with which settings: what a road by another's tool is called by."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from convexrml.errors import InvalidInputError, ToolMissingError
from convexrml.norms import Norm
from convexrml.validation import whole_number

TOOLS = ("foolbox", "art")
_DEFAULT = {"foolbox": "HopSkipJumpAttack", "art": "HopSkipJump"}
_HOME = {"foolbox": "foolbox.attacks", "art": "art.attacks.evasion"}
_DISTRIBUTION = {"foolbox": "foolbox", "art": "adversarial-robustness-toolbox"}


@dataclasses.dataclass(frozen=True)
class ToolAttack:
    """An attack of foolbox or ART, with its settings.

    Attributes
    ----------
    tool : {"foolbox", "art"}
        Whose attack.
    attack : str
        Name of a class in ``foolbox.attacks`` or ``art.attacks.evasion`` that attacks by decisions alone and takes
        starting points; default ``HopSkipJumpAttack``, ``HopSkipJump``.
    options : mapping
        Arguments of that class, the tool's own defaults for what is left out.
    seed : int
        Of numpy's global generator, which is all that the tools draw from.

    Raises
    ------
    InvalidInputError
        If there is no such tool, or the seed is no whole number.
    """

    tool: str = "foolbox"
    attack: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what can be checked without the tool."""
        if self.tool not in TOOLS:
            raise InvalidInputError(f"tool: choose from {', '.join(TOOLS)}; found {self.tool!r}")
        whole_number("seed", self.seed, minimum=0)
        if not self.attack:
            object.__setattr__(self, "attack", _DEFAULT[self.tool])

    @classmethod
    def named(cls, name: str) -> ToolAttack:
        """Read a tool, or a tool and the attack's class.

        Parameters
        ----------
        name : str
            ``"foolbox"``, ``"art"``, ``"foolbox:BoundaryAttack"``.

        Raises
        ------
        InvalidInputError
            If there is no such tool.
        """
        tool, _, attack = name.partition(":")
        return cls(tool, attack)

    @property
    def name(self) -> str:
        """As roads are called: ``foolbox:HopSkipJumpAttack``."""
        return f"{self.tool}:{self.attack}"

    @property
    def terms(self) -> dict[str, Any]:
        """The keywords by which a road like `tool_attack_radius` is called."""
        return {"tool": self.tool, "attack": self.attack, "options": dict(self.options), "seed": self.seed}

    @property
    def version(self) -> str | None:
        """Of the tool; None if it is not installed."""
        try:
            return importlib.metadata.version(_DISTRIBUTION[self.tool])
        except importlib.metadata.PackageNotFoundError:
            return None

    def require_installed(self) -> type:
        """The attack's class.

        Returns
        -------
        type
            A class of the tool's.

        Raises
        ------
        ToolMissingError
            If the tool is not installed; the message has the install line.
        InvalidInputError
            If the tool has no such attack.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # ART tells what else it did not find
                module = importlib.import_module(_HOME[self.tool])
        except ImportError as error:
            raise ToolMissingError(
                f"tool: {self.tool} is not installed ({error}); install it with: pip install 'convexrml[attacks]'"
            ) from error
        found = getattr(module, self.attack, None)
        if not isinstance(found, type):
            raise InvalidInputError(f"attack: {_HOME[self.tool]} has no {self.attack!r}")
        return found

    def maker(self, norm: Norm) -> Callable[..., Any]:
        """What makes the attack: its class with the options, those that `norm` and our question settle laid under them.

        Raises
        ------
        ToolMissingError, InvalidInputError
            See `require_installed`; made with options that the class does not take.
        """
        kind = self.require_installed()
        known = getattr(kind, "attack_params", ())  # ART's
        own: dict[str, Any] = {"verbose": False} if "verbose" in known else {}
        if "targeted" in known:
            own["targeted"] = False  # ART's BoundaryAttack wants to be told
        if self.attack == "HopSkipJumpAttack":
            own["constraint"] = "linf" if np.isinf(norm.order) else "l2"
        elif self.attack == "HopSkipJump":
            own["norm"] = np.inf if np.isinf(norm.order) else 2

        def make(*arguments: Any) -> Any:
            try:
                return kind(*arguments, **{**own, **self.options})
            except (TypeError, ValueError) as error:
                raise InvalidInputError(f"options: {self.tool}'s {self.attack} does not take them: {error}") from error

        return make
