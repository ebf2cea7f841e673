"""A command that reads each option as it was meant, or says what is wrong: nothing empty, nothing twice."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import click

from robench.cli.logs import verbose_option
from robench.plan.request_values import UNSET

#: Cards hold whole numbers of up to 18 digits.
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")


class Command(click.Command):
    """Refuse an empty value, most likely an unset shell variable, and an option given twice: one would be lost.

    Each command has ``-v``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(verbose_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of the command line."""
        if not ctx.resilient_parsing:  # a line that is being completed is not finished
            given, _, order = self.make_parser(ctx).parse_args(args=list(args))
            self._refuse(ctx, given, Counter(order))
        return super().parse_args(ctx, args)

    def _refuse(self, ctx: click.Context, given: dict[str, Any], times: Counter[click.Parameter]) -> None:
        for param, count in times.items():
            value = given.get(param.name or "")
            words = value if isinstance(value, list | tuple) else (value,)
            name = param.opts[-1] if isinstance(param, click.Option) else param.make_metavar(ctx)
            if any(isinstance(word, str) and not word.strip() for word in words):
                out = f", or leave {name} out" if not param.required else ""
                raise click.UsageError(f"{name} is empty ({UNSET}); give it a value{out}.", ctx)
            if isinstance(param, click.Option) and not param.is_flag and (swallowed := self._options(ctx) & {*words}):
                raise click.UsageError(
                    f"{name} is followed by {swallowed.pop()}, which is an option and no value of it ({UNSET}); give "
                    f"{name} a value, or leave it out.",
                    ctx,
                )
            lost = isinstance(param, click.Option) and not param.multiple and not param.count
            if lost and count > 1 and (not getattr(param, "is_flag", False) or param.secondary_opts):
                often = "twice" if count == 2 else f"{count} times"
                raise click.UsageError(f"{name} is given {often}; give it once.", ctx)

    def _options(self, ctx: click.Context) -> set[object]:
        return {word for param in self.get_params(ctx) if isinstance(param, click.Option) for word in param.opts}


class WholeNumber(click.ParamType[int]):
    """Read a whole number, of at least ``least``; what uses a number knows better what is wrong with a small one."""

    name = "integer"

    def __init__(self, least: int | None, example: str) -> None:
        self._least, self._example = least, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        words = str(value).strip()
        if isinstance(value, int):
            return value
        if not _WHOLE.fullmatch(words):
            shown = words if len(words) <= 60 else f"{words[:57]}..."
            self.fail(
                f"{shown!r} is no whole number of at most 18 digits; write one such as {self._example}.", param, ctx
            )
        if self._least is not None and int(words) < self._least:
            self.fail(f"{words} is below {self._least}; write a whole number such as {self._example}.", param, ctx)
        return int(words)


class Number(click.ParamType[float]):
    """Read a number; infinite ones and NaN are left to be refused with their reason where ``finite`` is false."""

    name = "float"

    def __init__(self, example: str, *, finite: bool = True) -> None:
        self._example, self._finite = example, finite

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        from robench.contracts.threat_model import parse_number

        if not self._finite and str(value).strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
            return float(value)
        try:
            return parse_number(value)
        except ValueError:
            shown = repr(value) if len(str(value)) <= 60 else f"{str(value)[:57]!r}..."
            self.fail(f"{shown} is no finite number; write one such as {self._example}.", param, ctx)
