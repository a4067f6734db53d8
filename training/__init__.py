"""Everything offline: data sets, the language model, profile inference, fitting, evaluation, publishing."""
