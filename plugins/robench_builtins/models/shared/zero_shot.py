"""What zero-shot models have in common: the prompts of their head."""

from __future__ import annotations

from robench import Model, Task, parameter


class Prompted(Model):
    """Classify by the prompts of the classes; several templates are an ensemble.

    Of an ensemble, the head holds for each class the mean of the normalised text features, normalised again (Radford
    et al., ICML 2021, section 3.1.4).
    """

    template: str = parameter(
        default="",
        help="prompt with {} for the class name, or an ensemble of several, | between them; empty: the dataset's first",
    )
    ensemble: bool = parameter(default=False, help="average the text features of all the dataset's templates")

    def prompts(self, task: Task) -> list[str]:
        """Return the templates to be averaged; one, unless an ensemble is asked for."""
        if self.template:
            return [template.strip() for template in self.template.split("|")]
        return list(task.templates) if self.ensemble else [task.templates[0]]
