"""The report's sections: every claim as a question, answered in a sentence, with a verdict."""

from userip.evaluation.sections.build import build_report

__all__ = ["build_report"]
