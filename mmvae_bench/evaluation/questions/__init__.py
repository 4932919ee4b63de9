"""The questions that a trained model is asked, one file each."""

from __future__ import annotations

from ...specs.components import Domain, QuestionSpec, questions
from ...specs.trial import EvaluationSpec
from .base import Context, Point, Question

__all__ = ["Context", "Point", "Question", "build_question", "questions_of"]


def questions_of(evaluation: EvaluationSpec, domain: Domain = "images") -> list[Question]:
    """The questions of an evaluation: the built-in ones that it wants in their order, then those that it names.

    Args:
        evaluation: The settings.
        domain: What the model was trained on.
    """
    built_in = [build_question(questions.parse(name)) for name in questions.built_in()
                if questions.get(name).domain == domain and not questions.get(name).on_request]  # fmt: skip
    return [*(each for each in built_in if each.wanted(evaluation)), *map(build_question, evaluation.questions)]


def build_question(spec: QuestionSpec) -> Question:
    """Imports the implementation of a question.

    Raises:
        ConfigError: if it is not a Question.
    """
    question: Question = spec.implementing_class()(spec)
    return question
